"""Mixture files, in JSON: `corpus mix` and `optimize` write them, `train --mixture` reads them."""

import dataclasses

from babel_jax.common import limits
from babel_jax.common.errors import UserError
from babel_jax.common.files import read_json, write_json
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
    checked = FILE.check(content, at)
    try:
        mixture.stages_from_config(checked["stages"], 1)
    except UserError as error:
        raise at.error(str(error)) from error
    sources = checked.get("sources")
    if sources is not None:
        sources = {name: SourceUse(**use) for name, use in sources.items()}
    return MixtureFile(**checked | {"sources": sources})


def write(file, content: MixtureFile) -> None:
    record = {name: value for name, value in dataclasses.asdict(content).items() if value is not None}
    order = ("made", "stages", "tokens", "sources", "steps")
    write_json(file, {name: record[name] for name in order if name in record})


def compose(made: dict, stages, available: dict[str, int], tokens: int) -> MixtureFile:
    """A mixture file for a run of `tokens` tokens on sources that have `available` tokens each."""
    sources = {
        name: SourceUse(available[name], round(amount), round(amount / available[name], 4))
        for name, amount in amounts(stages, tokens).items()
    }
    return MixtureFile(tuple(stages), made, tokens, sources)


def amounts(stages, tokens: int) -> dict[str, float]:
    """Tokens of each source in a run of `tokens` tokens."""
    tokens_of: dict[str, float] = {}
    for stage in stages:
        size = stage["tokens"] or tokens
        tokens -= size
        for name, weight in stage["weights"].items():
            tokens_of[name] = tokens_of.get(name, 0.0) + size * weight / sum(stage["weights"].values())
    return tokens_of


def table(content: MixtureFile) -> str:
    """What a mixture makes of each source, in lines for the terminal."""
    lines = [f"{'source':12s} {'available':>16s} {'tokens':>16s} {'share':>8s} {'epochs':>8s}"]
    for name, use in content.sources.items():
        share = use.tokens / content.tokens
        lines.append(f"{name:12s} {use.available:16,d} {use.tokens:16,d} {share:8.2%} {use.epochs:8.2f}")
    return "\n".join(lines)
