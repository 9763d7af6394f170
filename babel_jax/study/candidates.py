"""The corpora that a study trains on from scratch: what Algorithm 1 asks for, schedules, and their rivals.

The study writes a candidate as a mixture file that `train` reads. All take as many steps as the original mix; one with equal
epochs (`RunName.equal_epochs`) sees the primary as often as the original mix does, and so may be shorter or longer (as in the
paper, whose optimised corpus is smaller).
"""

import dataclasses
import math

from babel_jax.common import run_names
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.run_names import ADO, RunName
from babel_jax.optimum import rivals

UNMEASURED = ("temperature", "unimax", "equal_small", ADO)
ALGORITHM1 = ("loss", "loss_knowledge", "knowledge_share", "calibrated")
RIVALS = ("shuffled", "same_primary")
FITTED = {"law": "log_linear", "regression": "quadratic"}  # candidate -> kind of mixing law
SCHEDULE = run_names.SCHEDULE
WHOLE = (ADO, SCHEDULE)  # as long as the other mixes, always
ADO_EVERY = 40  # steps between two updates of the online mixture
LONGEST = 10.0  # times the original mix's steps: a candidate of equal epochs that would take more is left out
SMALL = 2.0  # the trivial rule's amount, in units of the original corpus (billions of tokens in the paper)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A from-scratch mix: by what it was made, and from what; its stages as a config has them; its length."""

    made: dict
    stages: list[dict]
    steps: int
    tokens: int


@dataclasses.dataclass(frozen=True)
class Original:
    """What candidates are made from: the original corpus {language: tokens}, the primary first, and its mix's length."""

    amounts: dict[str, float]
    steps: int
    step_tokens: int

    @property
    def primary(self) -> str:
        return next(iter(self.amounts))

    @property
    def primary_share(self) -> float:
        return self.amounts[self.primary] / sum(self.amounts.values())


def algorithm1(source: str) -> str:
    """The candidate that Algorithm 1 makes from a source of the primary's share."""
    return f"{run_names.ALGORITHM1}{source}"


MEASURED = (*map(algorithm1, ALGORITHM1), *RIVALS, *FITTED, SCHEDULE)


def is_measured(name: str) -> bool:
    """Whether a candidate is made from what the study has measured before."""
    return run_names.mix(name).candidate in MEASURED


def validate(names, replay=(), swarm: int = 0, sweep=()) -> None:
    """Raises a `UserError` for an unknown candidate, or one that lacks the runs it is made from."""
    for name in names:
        parsed = run_names.mix(name)
        candidate = parsed.candidate
        if candidate not in UNMEASURED + MEASURED or (candidate in WHOLE and parsed.equal_epochs):
            raise unknown_name("candidate", name, UNMEASURED + MEASURED)
        if candidate in FITTED and not swarm and len(sweep) < 4:
            raise UserError(f"candidate '{name}' is fitted to mixes; set `swarm`, or at least 4 shares in `sweep`.")
        if candidate == SCHEDULE and not replay:
            raise UserError(
                "candidate 'schedule' is read off continual runs with replay; set `replay`, such as (0.25,)."
            )


def unmeasured(names, swarm: int, original: Original) -> dict[str, Candidate]:
    """The candidates that need no measurement, and `swarm` random mixes, by their names among the mixes."""
    amounts = {
        "temperature": lambda: rivals.temperature(original.amounts),
        "unimax": lambda: rivals.unimax(original.amounts),
        "equal_small": lambda: rivals.equal_small(original.amounts, original.primary, SMALL),
    }
    found = {}
    for name in map(run_names.mix, names):
        if name.candidate in amounts:
            found[name.mix] = _static(name, amounts[name.candidate](), original)
    for number, corpus in enumerate(rivals.swarm(original.amounts, swarm) if swarm else ()):
        name = run_names.swarm(number)
        found[name.mix] = _static(name, corpus, original)
    return found


def measured(findings, names, original: Original) -> dict[str, Candidate]:
    """The candidates that are made from a study's findings; those that the findings do not give are left out."""
    found = {}
    for name in map(run_names.mix, names):
        if name.candidate == SCHEDULE:
            schedule = findings.schedules and findings.schedules.proposal
            if schedule:
                made = {"by": SCHEDULE, "reason": schedule.reason}
                found[name.mix] = _candidate(made, schedule.stages, original.steps, original)
            continue
        amounts = _amounts(findings, name.candidate, original)
        if not amounts or (name.equal_epochs and not _within_reach(amounts, original)):
            continue
        answers_to = {"answers_to": algorithm1(rivals_of(findings, original))} if name.candidate in RIVALS else {}
        found[name.mix] = _static(name, amounts, original, **answers_to)
    return found


def _within_reach(amounts: dict[str, float], original: Original) -> bool:
    """Whether a corpus shows the primary as often as the original does within LONGEST times the steps."""
    return amounts[original.primary] / sum(amounts.values()) * LONGEST >= original.primary_share


def _amounts(findings, candidate: str, original: Original) -> dict[str, float] | None:
    asked = {algorithm1(source): source for source in ALGORITHM1}
    if candidate in asked:
        return _asked(findings, asked[candidate], original)
    if candidate in FITTED:
        return findings.laws and findings.laws.kinds[FITTED[candidate]].best.shares
    optimised = _asked(findings, rivals_of(findings, original), original)
    if not optimised:
        return None
    rival = {"shuffled": rivals.shuffled, "same_primary": rivals.same_primary}[candidate]
    return rival(original.amounts, optimised, original.primary)


def rivals_of(findings, original: Original) -> str:
    """The source of the corpus that `shuffled` and `same_primary` answer to: ours, or the paper's where ours changes nothing."""
    return "calibrated" if _asked(findings, "calibrated", original) else "loss"


def _asked(findings, source: str, original: Original) -> dict[str, float] | None:
    """What Algorithm 1 asks the corpus to be: as the paper writes it, for every language; calibrated, as our tests allow.

    A best checkpoint that is the last one asks for tokens without end: such a language keeps what it has, as C++ does in
    the paper. None where nothing changes: that is the original mix.
    """
    corpus = findings.corpora.get(source)
    asked = corpus and (corpus.tokens if source == "calibrated" else corpus.as_written)
    if not asked:
        return None
    amounts = finite(asked, original.amounts)
    return None if all(math.isclose(amounts[name], amount) for name, amount in original.amounts.items()) else amounts


def finite(asked: dict[str, float], original: dict[str, float]) -> dict[str, float]:
    """The amounts asked for; a language that asks for tokens without end keeps what it has."""
    return {name: asked[name] if math.isfinite(asked[name]) else amount for name, amount in original.items()}


def _static(name: RunName, amounts: dict[str, float], original: Original, **made) -> Candidate:
    """One stage with the proportions of `amounts`, in whole ten-thousandths, so that a mixture's blocks are short."""
    total, steps = sum(amounts.values()), original.steps
    weights = {language: round(amount / total, 4) for language, amount in amounts.items()}
    if name.equal_epochs:
        share = weights[original.primary] / sum(weights.values())
        steps = round(steps * original.amounts[original.primary] / sum(original.amounts.values()) / share)
    stages = [{"tokens": 0, "weights": {language: weight for language, weight in weights.items() if weight}}]
    return _candidate({"by": name.mix, "amounts": amounts} | made, stages, steps, original)


def _candidate(made: dict, stages: list[dict], steps: int, original: Original) -> Candidate:
    return Candidate(made, stages, steps, steps * original.step_tokens)
