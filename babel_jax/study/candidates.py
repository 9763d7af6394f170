"""The corpora that a study trains on from scratch: what Algorithm 1 asks for, schedules, and their rivals.

`CANDIDATES` names them all. The study writes each as a mixture file that `train` reads. All take as many steps as the
original mix; one with equal epochs (`RunName.equal_epochs`) sees the primary as often as the original mix does, and so may
be shorter or longer (as in the paper, whose optimised corpus is smaller).
"""

import dataclasses
import functools
import math
from collections.abc import Callable

from babel_jax.common import run_names
from babel_jax.common.errors import UserError, unknown_name
from babel_jax.common.run_names import ADO, ALGORITHM1, SCHEDULE, RunName
from babel_jax.optimum import curve_law, peak_tokens, rivals
from babel_jax.optimum.best_corpus import Constraints, finite
from babel_jax.optimum.loss_laws import EQUAL_BENEFIT, NO_INTERACTION
from babel_jax.optimum.schedules import Schedule
from babel_jax.optimum.share_sources import CALIBRATED, SOURCES
from babel_jax.study.findings import Findings

ADO_EVERY = 40  # steps between two updates of the online mixture
LONGEST = 10.0  # times the original mix's steps: a candidate of equal epochs that would take more is left out
SMALL = 2.0  # the trivial rule's amount, in units of the original corpus (billions of tokens in the paper)


@dataclasses.dataclass(frozen=True)
class Original:
    """What candidates are made from: the original corpus {language: tokens}, the primary first, and its mix's length.

    `share_grid`: of the study's config, see `on_grid`.
    """

    amounts: dict[str, float]
    steps: int
    step_tokens: int
    share_grid: int = 0

    @property
    def tokens(self) -> int:
        """Of its mix."""
        return self.steps * self.step_tokens

    @property
    def primary(self) -> str:
        return next(iter(self.amounts))

    @property
    def primary_share(self) -> float:
        return self.amounts[self.primary] / sum(self.amounts.values())


# What of a study a candidate is made from.
ORIGINAL, FINDINGS, MIXES, REPLAY = "the original corpus", "findings", "mixes", "continual runs with replay"


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A corpus that a study can train on from scratch.

    Attributes:
      name: in a study's config, and among the mixes.
      corpus: `(original, findings) -> {language: tokens}` in any unit, or a schedule; it returns None where what it needs is
        missing, or nothing would change. `findings` is None where it needs only the original corpus. No function: the mix
        chooses its weights while it trains.
      title: what it is called in text; "": its name.
      needs: ORIGINAL, FINDINGS, MIXES or REPLAY.
      is_rival: whether it is among those that the optimised mix must beat.
      answers: whether it is a rival of one corpus, the one that is on trial (`source_on_trial`).
      searches: whose cost it has, as `optimum.rivals` names them.
      equal_epochs: whether there is one of equal epochs, too; otherwise it is always as long as the other mixes.
    """

    name: str
    corpus: Callable[[Original, Findings | None], dict[str, float] | Schedule | None] | None
    title: str = ""
    needs: str = ORIGINAL
    is_rival: bool = True
    answers: bool = False
    searches: tuple[str, ...] = ()
    equal_epochs: bool = True


@dataclasses.dataclass(frozen=True)
class PlannedMix:
    """A from-scratch mix to train: by what it was made, and from what; its stages as a config has them; its length."""

    made: dict
    stages: list[dict]
    steps: int
    tokens: int


# --- the corpora ----------------------------------------------------------------------------------------------------------


def _asked(original: Original, findings: Findings, source: str) -> dict[str, float] | None:
    """What Algorithm 1 asks the corpus to be: as the paper writes it, for every language; calibrated, as our tests allow.

    A best checkpoint that is the last one asks for tokens without end: such a language keeps what it has, as C++ does in
    the paper. None where nothing changes: that is the original mix.
    """
    corpus = findings.corpora.get(source)
    asked = corpus and (corpus.tokens if source == CALIBRATED else corpus.as_written)
    if not asked:
        return None
    amounts = finite(asked, original.amounts)
    return _changed(amounts, original)


def _changed(amounts: dict[str, float], original: Original) -> dict[str, float] | None:
    """The amounts, in any unit; None where they have the proportions of the original corpus, whose mix there is already."""
    scale = sum(amounts.values()) / sum(original.amounts.values())
    same = all(math.isclose(amounts[name], scale * amount) for name, amount in original.amounts.items())
    return None if same else amounts


def _peak_tokens(original: Original, findings: Findings) -> dict[str, float] | None:
    """The tokens at the peak of each language that falls after it, whatever the interval holds; the rest is the primary's."""
    if not findings.peaks:
        return None
    budget = Constraints(budget=original.tokens)
    corpus = peak_tokens.corpus(findings.peaks, original.primary, original.amounts, budget)
    return corpus.as_written and _changed(corpus.as_written, original)


def source_on_trial(original: Original, findings: Findings) -> str:
    """The source of the corpus that is on trial: the calibrated share, or the paper's where that changes nothing."""
    return CALIBRATED if _asked(original, findings, CALIBRATED) else "loss"


def _answer(original: Original, findings: Findings, rival: Callable) -> dict[str, float] | None:
    """A rival made from the corpus that is on trial."""
    optimised = _asked(original, findings, source_on_trial(original, findings))
    return optimised and rival(original.amounts, optimised, original.primary)


def _fitted(original: Original, findings: Findings, kind: str) -> dict[str, float] | None:
    """The best mix by a mixing law of this kind."""
    return findings.laws and findings.laws.kinds[kind].best.shares


def _of_loss(original: Original, findings: Findings, name: str) -> dict[str, float] | None:
    """The best mix by a law of the loss."""
    law = findings.loss_laws.get(name)
    return law and law.shares


def _by_curve(original: Original, findings: Findings) -> dict[str, float] | None:
    """The best mix by the continual runs' curves, where there is one in every new language."""
    if {original.primary, *findings.curve_laws} != set(original.amounts):
        return None
    budget = original.steps * original.step_tokens
    return curve_law.corpus(list(findings.curve_laws.values()), original.primary, budget, original.primary_share)


def _scheduled(original: Original, findings: Findings) -> Schedule | None:
    return findings.schedules and findings.schedules.proposal


def _algorithm1(source: str) -> Candidate:
    corpus = functools.partial(_asked, source=source)
    return Candidate(f"{ALGORITHM1}{source}", corpus, needs=FINDINGS, is_rival=False, searches=(rivals.ALGORITHM1,))


def _answering(name: str, title: str, rival: Callable) -> Candidate:
    corpus = functools.partial(_answer, rival=rival)
    return Candidate(name, corpus, title, FINDINGS, answers=True, searches=(rivals.ALGORITHM1,))


def _law(name: str, title: str, corpus: Callable) -> Candidate:
    return Candidate(name, corpus, title, MIXES, searches=(rivals.SWARM, rivals.SWEEP))


CANDIDATES = (
    *map(_algorithm1, (*SOURCES, CALIBRATED)),
    Candidate(
        peak_tokens.SOURCE,
        _peak_tokens,
        needs=FINDINGS,
        is_rival=False,
        searches=rivals.CONTINUAL,
        equal_epochs=False,  # its amounts are absolute
    ),
    _answering("shuffled", "shuffled cuts", rivals.shuffled),
    _answering("same_primary", "same primary share", rivals.same_primary),
    Candidate(
        "equal_small",
        lambda original, findings: rivals.equal_small(original.amounts, original.primary, SMALL),
        "same little of each",
    ),
    Candidate("unimax", lambda original, findings: rivals.unimax(original.amounts), "UniMax"),
    Candidate("temperature", lambda original, findings: rivals.temperature(original.amounts)),
    _law("law", "mixing law", functools.partial(_fitted, kind="log_linear")),
    _law("regression", "regression on a swarm", functools.partial(_fitted, kind="quadratic")),
    _law(NO_INTERACTION, "law without interaction", functools.partial(_of_loss, name=NO_INTERACTION)),
    _law(EQUAL_BENEFIT, "equal marginal benefits", functools.partial(_of_loss, name=EQUAL_BENEFIT)),
    Candidate(
        "curve_law",
        _by_curve,
        "curve as a law",
        MIXES,
        is_rival=False,
        searches=(*rivals.CONTINUAL, rivals.SWARM, rivals.SWEEP),
    ),
    Candidate(ADO, None, "ADO", equal_epochs=False),
    Candidate(
        SCHEDULE,
        _scheduled,
        needs=REPLAY,
        is_rival=False,
        searches=(*rivals.CONTINUAL, rivals.SCHEDULES),
        equal_epochs=False,
    ),
)


def candidate_of(name: str) -> Candidate | None:
    """The candidate that a mix is of, such as "unimax_equal_epochs"; None for a plain share, or a mix of the swarm."""
    wanted = run_names.mix(name).candidate
    return next((candidate for candidate in CANDIDATES if candidate.name == wanted), None)


# --- what a study trains ---------------------------------------------------------------------------------------------------


def is_measured(name: str) -> bool:
    """Whether a candidate is made from what the study has measured before."""
    return candidate_of(name).needs != ORIGINAL


def validate(names, replay=(), swarm: int = 0, sweep=()) -> None:
    """Raises a `UserError` for an unknown candidate, or one that lacks the runs it is made from."""
    for name in names:
        candidate = candidate_of(name)
        if candidate is None or (run_names.mix(name).equal_epochs and not candidate.equal_epochs):
            raise unknown_name("candidate", name, [each.name for each in CANDIDATES])
        if candidate.needs == MIXES and not swarm and len(sweep) < 4:
            raise UserError(f"candidate '{name}' is fitted to mixes; set `swarm`, or at least 4 shares in `sweep`.")
        if candidate.needs == REPLAY and not replay:
            raise UserError(
                f"candidate '{name}' is read off continual runs with replay; set `replay`, such as (0.25,)."
            )


def unmeasured(names, swarm: int, original: Original) -> dict[str, PlannedMix]:
    """The candidates that need no measurement, and `swarm` random mixes, by their names among the mixes."""
    names = [name for name in names if not is_measured(name) and candidate_of(name).corpus]
    random = rivals.swarm(original.amounts, swarm) if swarm else ()
    return _planned(names, original, None) | {
        run_names.swarm(number).mix: _constant(run_names.swarm(number), corpus, original)
        for number, corpus in enumerate(random)
    }


def measured(findings: Findings, names, original: Original) -> dict[str, PlannedMix]:
    """The candidates that are made from a study's findings; those that the findings do not give are left out."""
    return _planned(names, original, findings)


def _planned(names, original: Original, findings: Findings | None) -> dict[str, PlannedMix]:
    mixes = {}
    for name in map(run_names.mix, names):
        candidate = candidate_of(name.mix)
        corpus = candidate.corpus(original, findings)
        if not corpus or (name.equal_epochs and not _within_reach(corpus, original)):
            continue
        if candidate.answers:
            answers_to = {"answers_to": f"{ALGORITHM1}{source_on_trial(original, findings)}"}
            mixes[name.mix] = _constant(name, corpus, original, **answers_to)
        elif isinstance(corpus, dict):
            mixes[name.mix] = _constant(name, corpus, original)
        else:
            made = {"by": candidate.name, "reason": corpus.reason}
            mixes[name.mix] = _mix(made, corpus.stages, original.steps, original)
    return mixes


def _within_reach(amounts: dict[str, float], original: Original) -> bool:
    """Whether a corpus shows the primary as often as the original does within LONGEST times the steps."""
    return amounts[original.primary] / sum(amounts.values()) * LONGEST >= original.primary_share


def _constant(name: RunName, amounts: dict[str, float], original: Original, **made) -> PlannedMix:
    """One stage with the proportions of `amounts`, in whole ten-thousandths, so that a mixture's blocks are short."""
    total, steps = sum(amounts.values()), original.steps
    shares = on_grid({language: amount / total for language, amount in amounts.items()}, original)
    weights = {language: round(share, 4) for language, share in shares.items()}
    if name.equal_epochs:
        share = weights[original.primary] / sum(weights.values())
        steps = round(steps * original.amounts[original.primary] / sum(original.amounts.values()) / share)
    stages = [{"tokens": 0, "weights": {language: weight for language, weight in weights.items() if weight}}]
    return _mix({"by": name.mix, "amounts": amounts} | made, stages, steps, original)


def on_grid(shares: dict[str, float], original: Original) -> dict[str, float]:
    """Shares of which those of the new languages are rounded to a grid, so that proposals which nearly agree are one mix.

    The grid has `share_grid` steps in each factor of two, from 1/2 down for what is less than half, and for what is left of 1
    otherwise; the primary takes what remains. 0: no grid.
    """
    if not original.share_grid:
        return shares
    rounded = {name: _on_grid(share, original.share_grid) for name, share in shares.items() if name != original.primary}
    rest = 1 - sum(rounded.values())
    return shares if rest < 0 else {name: rounded.get(name, rest) for name in shares}


def _on_grid(share: float, steps: int) -> float:
    if share > 0.5:
        return 1 - _on_grid(1 - share, steps)
    return 2 ** (round(steps * math.log2(share)) / steps) if share > 0 else 0.0


def _mix(made: dict, stages: list[dict], steps: int, original: Original) -> PlannedMix:
    return PlannedMix(made, stages, steps, steps * original.step_tokens)
