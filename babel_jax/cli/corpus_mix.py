"""Plans how much of each language of a corpus a run of so many tokens sees, and how often.

python -m babel_jax corpus mix corpora/mine --policy=unimax --max_epochs=4 --tokens=2e9 --out=mixture.json
"""

from babel_jax.cli import kinds, options
from babel_jax.cli.parser import Arguments
from babel_jax.common import limits
from babel_jax.common.errors import UserError, printable, unknown_name


def add_arguments(parser) -> None:
    from babel_jax.corpus.policies import POLICIES

    parser.add_argument("corpus", type=kinds.local, help="a directory that `corpus build` made")
    parser.add_argument("--policy", required=True, choices=tuple(POLICIES), help="what the weights follow")
    parser.add_argument(
        "--tokens", required=True, type=kinds.count(1, limits.MOST_TOKENS), help="tokens of the run, such as 2e9"
    )
    parser.add_argument("--shares", default="", metavar="NAME=WEIGHT,…", help="of --policy=shares")
    parser.add_argument(
        "--temperature",
        type=kinds.number(0, 1e6, above=True),
        help="T of --policy=temperature: weights follow tokens^(1/T)",
    )
    options.add_max_epochs(parser)
    parser.add_argument(
        "--after",
        type=kinds.place,
        metavar="FILE",
        help="a mixture file whose stages come first, such as a run's bulk",
    )
    parser.add_argument("--out", type=kinds.place, metavar="FILE", help="where the mixture file is written")


def run(arguments: Arguments) -> None:
    from babel_jax.corpus import corpus_files, mixture, mixture_files

    corpus = corpus_files.load(arguments.corpus)
    row_tokens = next(iter(corpus.train.values())).rows([0]).shape[1] - 1
    available = {name: len(rows) * row_tokens for name, rows in corpus.train.items()}
    before = mixture_files.read(arguments.after) if arguments.after else None
    if before and before.tokens is None:
        raise UserError(
            f"{arguments.after} does not say for how many tokens it is; add `tokens`, or take one of `corpus mix`."
        )
    stages, capped = plan(arguments, available, before)
    mixture.Mixture(corpus.train, mixture.stages_from_config(stages, row_tokens), seed=0)  # refuses what `train` would
    tokens = arguments.tokens + (before.tokens if before else 0)
    file = mixture_files.compose(_made(arguments), stages, available, tokens)
    print(mixture_files.table(file))
    for name in capped:
        print(f"{name} is held at {arguments.max_epochs:g} epochs; what it gives up goes to the others in proportion.")
    if arguments.out:
        mixture_files.write(arguments.out, file)
        print(f"mixture: {printable(arguments.out)}; train with --mixture={printable(arguments.out)}")


def _made(arguments: Arguments) -> dict:
    """By what the file is made, and from what."""
    names = ("corpus", "policy", "tokens", "shares", "temperature", "max_epochs", "after")
    made = {name: value for name in names if (value := getattr(arguments, name))}
    return {"by": "corpus mix"} | made | {"corpus": str(arguments.corpus)}


def plan(arguments: Arguments, available: dict[str, int], before) -> tuple[list[dict], list[str]]:
    """The stages that the options ask for, and the languages that --max_epochs holds back.

    `before`: the mixture file whose stages come first, or None.
    """
    from babel_jax.corpus import mixture_files, policies

    weights = policies.weights(available, arguments)
    stages, used = [], {}
    if before:
        stages, used = [dict(stage) for stage in before.stages], mixture_files.amounts(before.stages, before.tokens)
        stages[-1]["tokens"] = before.tokens - sum(stage["tokens"] for stage in stages)
        if unknown := sorted(used.keys() - available.keys()):
            raise unknown_name("language of the corpus", unknown[0], available)
        if stages[-1]["tokens"] < 1:
            raise UserError(f"the stages of {arguments.after} have more than its {before.tokens:,} tokens; correct it.")
    capped = []
    if arguments.max_epochs:
        most = {name: max(arguments.max_epochs * count - used.get(name, 0), 0) for name, count in available.items()}
        share = policies.capped(weights, most, arguments.tokens)
        wanted = [name for name in weights if weights[name]]
        capped = [name for name in wanted if share[name] * arguments.tokens >= most[name] * (1 - 1e-9)]
        weights = share
    return [*stages, {"tokens": 0, "weights": weights}], capped
