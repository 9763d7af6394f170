"""Mixture files: `corpus mix` and `optimize` write them, `train --mixture` reads them, `corpus verify --run` checks a run.

A mixture file is JSON, see `MixtureFile`.
"""

import dataclasses

from babel_jax.cli import arguments as kinds
from babel_jax.common import files, limits
from babel_jax.common.errors import Parser, UserError, printable, unknown_name
from babel_jax.common.files import read_json, write_json
from babel_jax.common.limits import COUNTS
from babel_jax.common.schema import REQUIRED, Anything, Key, Number, Place, Section, Table
from babel_jax.corpus import mixture

_AMOUNT = Number(low=0, high=limits.MOST_TOKENS)
FILE = Section(
    {
        "stages": Key(mixture.STAGES, REQUIRED, "the mixture, as `corpus mix` and `optimize` write it"),
        "tokens": Key(Number(low=1, high=limits.MOST_TOKENS, whole=True), None, "of the run that it is for"),
        "steps": Key(Number(low=1, whole=True), None, "of that run, in a study"),
        "made": Key(Anything(), None, "by what, and from what"),
        "sources": Key(
            Table(Section({name: Key(_AMOUNT, REQUIRED, "of a source") for name in ("available", "tokens", "epochs")})),
            None,
            "what becomes of them",
        ),
    }
)
# What is read of a finished run's config.json; runs of an earlier version choose no weights themselves.
BATCH_SIZE = range(1, 2**20 + 1)
RUN = {"stages": [mixture.STAGE], "seed": limits.SEEDS, "online?": {"every": COUNTS}}
POLICIES = ("tokens", "shares", "temperature", "unimax")


@dataclasses.dataclass(frozen=True)
class SourceUse:
    """Tokens that there are of a source, tokens that a run takes of it, and how often it sees them."""

    available: float
    tokens: float
    epochs: float


@dataclasses.dataclass(frozen=True)
class MixtureFile:
    """What a mixture file says; None where it does not.

    Attributes:
      made: by what, and from what.
      stages: as a run's config takes them.
      tokens: of the run that it is for.
      sources: what becomes of them.
      steps: of that run, in a study.
    """

    stages: tuple[dict, ...]
    made: dict | None = None
    tokens: int | None = None
    sources: dict[str, SourceUse] | None = None
    steps: int | None = None


def read(file) -> MixtureFile:
    """A mixture file.

    Raises:
      UserError: it cannot be read, is not a mixture file, or its stages mean nothing.
    """
    content = read_json(file)
    try:
        return _checked(content, Place(f"the mixture file {file}"))
    except UserError as error:
        instead = "correct it, or make another with `corpus mix` or `optimize`"
        raise UserError(f"{str(error).rstrip('.')}; {instead}.") from error


def _checked(content, at: Place) -> MixtureFile:
    given = FILE.check(content, at)
    try:
        mixture.stages_from_config(given["stages"], 1)
    except UserError as error:
        raise at.error(str(error)) from error
    sources = given.get("sources")
    if sources is not None:
        sources = {name: SourceUse(**use) for name, use in sources.items()}
    return MixtureFile(**given | {"sources": sources})


def write(file, content: MixtureFile) -> None:
    said = {name: value for name, value in dataclasses.asdict(content).items() if value is not None}
    order = ("made", "stages", "tokens", "sources", "steps")
    write_json(file, {name: said[name] for name in order if name in said})


def compose(made: dict, stages, available: dict[str, int], tokens: int) -> MixtureFile:
    """A mixture file for a run of `tokens` tokens on sources that have `available` tokens each."""
    sources = {
        name: SourceUse(available[name], round(amount), round(amount / available[name], 4))
        for name, amount in amounts(stages, tokens).items()
    }
    return MixtureFile(tuple(stages), made, tokens, sources)


def amounts(stages, tokens: int) -> dict[str, float]:
    """Tokens of each source in a run of `tokens` tokens."""
    given: dict[str, float] = {}
    for stage in stages:
        size = stage["tokens"] or tokens
        tokens -= size
        for name, weight in stage["weights"].items():
            given[name] = given.get(name, 0.0) + size * weight / sum(stage["weights"].values())
    return given


# --- corpus mix -----------------------------------------------------------------------------------------------------------


def options(arguments: list[str]):
    """The arguments of `corpus mix`, read."""
    parser = Parser(
        prog="python -m babel_jax corpus mix",
        description="how much of each language a run of so many tokens sees, and how often",
        allow_abbrev=False,
    )
    parser.add_argument("corpus", type=kinds.local, help="a directory that `corpus build` made")
    parser.add_argument("--policy", required=True, choices=POLICIES, help="what the weights follow")
    parser.add_argument(
        "--tokens", required=True, type=kinds.count(1, limits.MOST_TOKENS), help="tokens of the run, such as 2e9"
    )
    parser.add_argument("--shares", default="", metavar="NAME=WEIGHT,…", help="of --policy=shares")
    parser.add_argument(
        "--temperature",
        type=kinds.number(0, 1e6, above=True),
        help="T of --policy=temperature: weights follow tokens^(1/T)",
    )
    add_max_epochs(parser)
    parser.add_argument(
        "--after",
        type=kinds.place,
        metavar="FILE",
        help="a mixture file whose stages come first, such as a run's bulk",
    )
    parser.add_argument("--out", type=kinds.place, metavar="FILE", help="where the mixture file is written")
    return parser.parse_args(arguments)


def add_max_epochs(parser) -> None:
    parser.add_argument(
        "--max_epochs",
        type=kinds.number(0, 1e9),
        default=0.0,
        help="how often a language's tokens may be seen (0: no limit)",
    )


def main(arguments: list[str]) -> None:
    """`corpus mix CORPUS --policy=P --tokens=N …`: prints the mixture and writes it to --out."""
    parsed = options(arguments)
    from babel_jax.corpus import corpus_files

    corpus = corpus_files.load(parsed.corpus)
    row_tokens = next(iter(corpus.train.values())).rows([0]).shape[1] - 1
    available = {name: len(rows) * row_tokens for name, rows in corpus.train.items()}
    before = read(parsed.after) if parsed.after else None
    if before and before.tokens is None:
        raise UserError(
            f"{parsed.after} does not say for how many tokens it is; add `tokens`, or take one of `corpus mix`."
        )
    made = {"by": "corpus mix"} | {name: value for name, value in vars(parsed).items() if value and name != "out"}
    made["corpus"] = str(parsed.corpus)
    stages, held = plan(parsed, available, before)
    mixture.Mixture(corpus.train, mixture.stages_from_config(stages, row_tokens), seed=0)  # refuses what `train` would
    found = compose(made, stages, available, parsed.tokens + (before.tokens if before else 0))
    print(table(found))
    for name in held:
        print(f"{name} is held at {parsed.max_epochs:g} epochs; what it gives up goes to the others in proportion.")
    if parsed.out:
        write(parsed.out, found)
        print(f"mixture: {printable(parsed.out)}; train with --mixture={printable(parsed.out)}")


def plan(parsed, available: dict[str, int], before: MixtureFile | None = None) -> tuple[list[dict], list[str]]:
    """The stages that the options of `corpus mix` ask for, and the languages that --max_epochs holds back."""
    weights = _weights(parsed, available)
    stages, used = [], {}
    if before:
        stages, used = [dict(stage) for stage in before.stages], amounts(before.stages, before.tokens)
        stages[-1]["tokens"] = before.tokens - sum(stage["tokens"] for stage in stages)
        if unknown := sorted(used.keys() - available.keys()):
            raise unknown_name("language of the corpus", unknown[0], available)
        if stages[-1]["tokens"] < 1:
            raise UserError(f"the stages of {parsed.after} have more than its {before.tokens:,} tokens; correct it.")
    held = []
    if parsed.max_epochs:
        most = {name: max(parsed.max_epochs * count - used.get(name, 0), 0) for name, count in available.items()}
        share = mixture.capped(weights, most, parsed.tokens)
        held = [name for name in weights if weights[name] and share[name] * parsed.tokens >= most[name] * (1 - 1e-9)]
        weights = share
    return [*stages, {"tokens": 0, "weights": weights}], held


def _weights(parsed, available: dict[str, int]) -> dict[str, float]:
    """What the policy alone wants, before any cap."""
    if bool(parsed.shares) != (parsed.policy == "shares"):
        raise UserError("--shares goes with --policy=shares, and that needs it: --shares=python=2,php=1.")
    temperature = parsed.temperature
    given = temperature is not None
    if given != (parsed.policy == "temperature"):
        raise UserError("--temperature goes with --policy=temperature, and that needs one above 0, such as 2.")
    if parsed.policy == "unimax" and parsed.max_epochs <= 0:
        raise UserError("--policy=unimax needs --max_epochs: how often a language may be seen, such as 4.")
    if parsed.policy == "unimax":
        return dict.fromkeys(available, 1 / len(available))
    if parsed.policy == "shares":
        return _shares(parsed.shares, available)
    return mixture.by_temperature(available, temperature or 1.0)


def _shares(text: str, available) -> dict[str, float]:
    weights = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        if name not in available:
            raise unknown_name("language of the corpus", name, available)
        try:
            weights[name] = float(weight)
        except ValueError:
            raise UserError(f"--shares has '{part}'; write NAME=WEIGHT, such as python=2.") from None
    mixture.stages_from_config([{"tokens": 0, "weights": weights}], 1)
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def table(content: MixtureFile) -> str:
    """What a mixture makes of each source, in lines for the terminal."""
    lines = [f"{'source':12s} {'available':>16s} {'tokens':>16s} {'share':>8s} {'epochs':>8s}"]
    for name, use in content.sources.items():
        share = use.tokens / content.tokens
        lines.append(f"{name:12s} {use.available:16,d} {use.tokens:16,d} {share:8.2%} {use.epochs:8.2f}")
    return "\n".join(lines)


# --- corpus verify --run --------------------------------------------------------------------------------------------------


def verify_run(run_dir) -> list[str]:
    """Prints what a finished run drew from each source, by its own count; returns what contradicts its stages.

    `drawn` was counted row by row as the run went, also through restarts; `share` is the exact share by the stages'
    weights. Between two whole blocks of 1000 rows they may differ by what the random order inside a block leaves open.

    Raises:
      UserError: the run is not done, or drew no rows of its own (imported, or of an earlier version).
    """
    run_dir = files.path(run_dir)
    config, done, row_tokens = finished(run_dir, **RUN)
    online = config.get("online", {"every": 0})["every"]  # runs of an earlier version have no such section
    stages = mixture.read_stages(run_dir) if online else config["stages"]
    place = done.step * config["batch_size"]
    sizes = {name: range(counts.rows) for name, counts in done.sources.items()}
    mixed = mixture.Mixture(sizes, mixture.stages_from_config(stages, row_tokens), config["seed"])
    wanted, shares = mixed.rows_seen(place), mixed.shares_seen(place)
    problems, largest = [], 0.0
    print(f"{'source':12s} {'rows':>12s} {'tokens':>16s} {'drawn':>8s} {'share':>8s} {'epochs':>8s} {'deviation':>10s}")
    for name, counts in done.sources.items():
        drawn, deviation = counts.drawn, counts.drawn - shares[name]
        largest = max(largest, abs(deviation))
        epochs = drawn / counts.rows if counts.rows else 0.0
        print(
            f"{name:12s} {drawn:12,d} {drawn * row_tokens:16,d} {drawn / place:8.2%} {shares[name] / place:8.2%} "
            f"{epochs:8.2f} {deviation:10.1f}"
        )
        if drawn != wanted[name]:
            problems.append(f"{run_dir}: {drawn} rows of {name} were drawn; its stages and seed give {wanted[name]}.")
    print(f"largest deviation: {largest:.1f} of {place:,d} rows")
    return problems


def finished(run_dir, **needed) -> tuple[dict, dict, int]:
    """(config, DONE, tokens of a row) of a finished run that counted its rows; `needed`: shapes of keys of its config."""
    from babel_jax.training import runs  # loads JAX

    done = runs.read_done(run_dir)
    if not done.sources or not done.step:
        raise UserError(
            f"{run_dir} has not counted the rows it drew: it was imported, or trained by an earlier version."
        )
    shape = {"config": {"batch_size": BATCH_SIZE} | needed}
    config = read_json(run_dir / "config.json", shape, "put back a copy of it")["config"]
    row_tokens, rest = divmod(done.tokens, done.step * config["batch_size"])
    if rest or not row_tokens:
        raise UserError(f"{run_dir}/DONE is damaged: its tokens are not those of its steps; {runs.WRITE_DONE}.")
    return config, done, row_tokens
