"""Everything that a study says, as records: what the report draws and the verb `optimize` prints; analysis.py makes it."""

import collections
import dataclasses

import numpy as np

from babel_jax.common.run_names import ALGORITHM1, PEAK_TOKENS
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.learning import Bar
from babel_jax.evolution.mechanism import Causes, Drift
from babel_jax.evolution.mixes import MACRO, Mix
from babel_jax.evolution.observation import Observation
from babel_jax.evolution.stages import Stages
from babel_jax.evolution.tasks import Tasks
from babel_jax.optimum import algorithm1, best_corpus, compare, peak_tokens
from babel_jax.optimum.best_corpus import Constraints, Corpus
from babel_jax.optimum.compare import Comparison, Guard
from babel_jax.optimum.curve_law import CurveLaw
from babel_jax.optimum.laws import Law
from babel_jax.optimum.loss_laws import LossLaw
from babel_jax.optimum.peak_tokens import PeakTokens
from babel_jax.optimum.rivals import Cost
from babel_jax.optimum.schedules import Schedule, Surface
from babel_jax.optimum.share_sources import CALIBRATED, Proposals
from babel_jax.study.facts import StudyFacts
from babel_jax.study.predictions import Prediction

# The optimised mix that verdicts and the page's story are about: the first of these that was trained.
OPTIMISED = (PEAK_TOKENS, f"{ALGORITHM1}{CALIBRATED}", f"{ALGORITHM1}{algorithm1.DEFAULT_SOURCE}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageFindings(Proposals):
    """What the rows about the primary and one new language say, and what every source proposes for it.

    Attributes:
      curves: all of them.
      dependence: None where no problem was judged.
      gaps: sentences about what could not be computed.
      causes, drift: None where not measured.
      lens_grid: of the first seed's continual run, as arrays (`diagnostics.lens_grid`).
      observation: the continual run as the optimisers of the corpus read it; None where no problem was judged.
      predictor: the same of the run that is trained as the mixes are; None where the study has none.
      peak_tokens: what the peak of `predicting` asks for; None where that has no stages.
    """

    curves: Curves
    dependence: Dependence | None
    gaps: list[str]
    causes: Causes | None
    drift: Drift | None
    lens_grid: dict | None = None
    observation: Observation | None = None
    predictor: Observation | None = None
    peak_tokens: PeakTokens | None = None

    @property
    def predicting(self) -> Observation | None:
        """The run that predicts mixes: the predictor, or the continual run of a study without one."""
        return self.predictor or self.observation

    @property
    def stages(self) -> Stages | None:
        """Of the continual run."""
        return self.curves.continual

    @property
    def control(self) -> Stages | None:
        """Of the control."""
        return self.curves.control

    @property
    def measured(self) -> dict[str, Curve]:
        """{name: the primary's share as it was measured}."""
        return self.curves.measured_shares


@dataclasses.dataclass(frozen=True)
class PredictedShare:
    """The primary's share that Eq. 2 predicts from a mix's tokens, against the one measured in the from-scratch run.

    Attributes:
      run, name: of the mix; language: a new one.
      predicted: pairwise, primary / (primary + language).
      measured, ci: by the lens in the intermediate layers, over seeds; by_seed: [S].
    """

    run: str
    name: str
    language: str
    predicted: float
    measured: float
    ci: tuple[float, float]
    by_seed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Schedules:
    """What the continual runs with replay reach, and the schedule that they propose."""

    surface: Surface
    proposal: Schedule | None


@dataclasses.dataclass(frozen=True)
class Asked:
    """What Algorithm 1 asks for: the new languages' share of the corpus by one source of P, with its interval or None."""

    source: str
    share: float
    ci: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Findings:
    """Everything that a study says.

    Attributes:
      study: its facts.
      missing: what it lacks, in sentences.
      languages: {new language: …}.
      corpora: {source: …}; corpora_joint: the same in the joint reading, None where that has no solution; {} with one
        new language, where both readings are one.
      mixes: from-scratch runs; comparisons: of them.
      bar: what a from-scratch run must reach to have learned the primary; None: it is not known.
      laws, schedules: None where there are too few runs.
      predicted: the primary's share in from-scratch runs.
      costs: of the searches.
      predictions: {name of a mix: that it was written down before its runs were trained}.
      loss_laws: {name: …} of the rivals that are fitted to the mixes' held-out losses.
      tasks: scores by task, of writing and what is asked beside it.
      curve_laws: {new language: …} of the continual run's curve as a law.
    """

    study: StudyFacts
    missing: list[str]
    languages: dict[str, LanguageFindings]
    corpora: dict[str, Corpus]
    corpora_joint: dict[str, Corpus | None]
    mixes: list[Mix]
    bar: Bar | None
    comparisons: list[Comparison]
    laws: Law | None
    schedules: Schedules | None
    predicted: list[PredictedShare]
    costs: list[Cost]
    loss_laws: dict[str, LossLaw] = dataclasses.field(default_factory=dict)
    tasks: Tasks = Tasks()
    predictions: dict[str, Prediction] = dataclasses.field(default_factory=dict)
    curve_laws: dict[str, CurveLaw] = dataclasses.field(default_factory=dict)

    @property
    def main_score(self) -> str:
        """The score of a mix: the new language's accuracy, or with several new languages the mean over all languages."""
        return self.study.new[0] if len(self.study.new) == 1 else MACRO

    def mix_named(self, name: str | None) -> Mix | None:
        return next((mix for mix in self.mixes if mix.name == name), None)

    @property
    def original_name(self) -> str | None:
        """The name of the mix that has the original corpus's shares; None where it was not trained."""
        return self.study.original_mix if self.mix_named(self.study.original_mix) else None

    @property
    def optimised_name(self) -> str | None:
        """The better corpus, as the study has it: the first of OPTIMISED that was trained; None where none was."""
        return next((name for name in OPTIMISED if self.mix_named(name)), None)

    def new_share(self, mix: Mix) -> float:
        """The new languages' share of a mix's tokens."""
        return 1 - mix.shares.get(self.study.primary, 0.0)

    def against_original(self, name: str, score: str = "") -> Comparison | None:
        """A mix against the original one, both trained. `score`: MACRO or a language; "": the main score."""
        wanted = ("mix", self.original_name, name, score or self.main_score)
        pairs = (pair for pair in self.comparisons if (pair.kind, pair.first, pair.second, pair.score) == wanted)
        return next(pairs, None)

    def between(self, first: str, second: str) -> Comparison | None:
        """Two mixes in the main score; None where one of them was not trained."""
        if self.mix_named(first) is None or self.mix_named(second) is None:
            return None
        return compare.compare(self.mixes, first, second, self.main_score)

    def guard(self, name: str) -> Guard | None:
        """Whether a mix harms a language, against the original one; None where one of them was not trained."""
        if self.original_name is None or self.mix_named(name) is None:
            return None
        return compare.guard(self.mixes, self.original_name, name, self.chance)

    @property
    def equally_long(self) -> list[Mix]:
        """The mixes trained for as many steps as most are: with more, or fewer, a score says little about the shares."""
        count = collections.Counter(mix.steps for mix in self.mixes)
        return [mix for mix in self.mixes if mix.steps == count.most_common(1)[0][0]]

    def static_rivals(self, name: str) -> list[Mix]:
        """The other mixes that a mix can be ranked with: equally long, trained on all its seeds, and of constant shares."""
        mix, chosen = self.mix_named(name), self.equally_long
        if not any(mix is other for other in chosen):
            return []
        return [other for other in chosen if other is not mix and other.is_static and {*mix.seeds} <= {*other.seeds}]

    def behind_best(self, name: str) -> Comparison | None:
        """How far a mix stays behind the best in the main score, among itself and its `static_rivals` that can be compared."""
        others = self.comparable(self.static_rivals(name))
        return compare.gap_to_best([self.mix_named(name), *others], name, self.main_score) if others else None

    def comparable(self, mixes: list[Mix]) -> list[Mix]:
        """Those of which every run has learned the primary: the others' scores tell who has left a plateau, and no more."""
        return [mix for mix in mixes if mix.learned_primary_S.all()]

    def unlearned(self, mixes: list[Mix]) -> tuple[int, int]:
        """(k, n): of the mixes' n runs those k that had not learned the primary at their end."""
        learned_N = np.concatenate([mix.learned_primary_S for mix in mixes])
        return int((~learned_N).sum()), len(learned_N)

    def learned(self, mixes: list[Mix]) -> bool:
        """Whether any of some mixes has learned any new language."""
        return any(
            compare.learned(mix, language, self.chance[language]) for mix in mixes for language in self.languages
        )

    @property
    def chance(self) -> dict[str, float]:
        """By new language, the part of its problems that is solved without having learned anything."""
        return {language: here.curves.chance for language, here in self.languages.items()}

    @property
    def peaks(self) -> dict[str, PeakTokens]:
        """{new language: what its peak asks for}, of those whose stages can be read."""
        return {language: here.peak_tokens for language, here in self.languages.items() if here.peak_tokens}

    @property
    def peak_corpus(self) -> Corpus | None:
        """The corpus by the peaks, in tokens of the original mix; None where that was not trained, or nothing was judged."""
        original = self.mix_named(self.original_name)
        if original is None or not self.peaks:
            return None
        budget = Constraints(budget=original.tokens)
        return peak_tokens.corpus(self.peaks, self.study.primary, self.study.original, budget)

    @property
    def asked(self) -> list[Asked]:
        """What Algorithm 1 asks for by each source, and the peak tokens, as the mixes are made from it.

        The losses and the measured shares as the paper writes the rule (a language that asks for tokens without end keeps what
        it has); the calibrated share as the tests allow. An interval with one new language alone, where its proposal is what
        is asked.
        """
        asked = []
        for source, corpus in self.corpora.items():
            proposals = [here.proposals[source] for here in self.languages.values() if source in here.proposals]
            if all(np.isnan(proposal.p_star) for proposal in proposals):
                continue  # it asks for nothing
            tokens = corpus.tokens if source == CALIBRATED else corpus.as_written or corpus.unconstrained
            tokens = best_corpus.finite(tokens, self.study.original)
            interval = None
            if len(self.languages) == 1 and (source != CALIBRATED or proposals[0].decision == algorithm1.CHANGE):
                interval = proposals[0].share_ci
            asked.append(Asked(source, 1 - tokens[self.study.primary] / sum(tokens.values()), interval))
        return asked + self._asked_by_peak()

    def _asked_by_peak(self) -> list[Asked]:
        corpus = self.peak_corpus
        if corpus is None or corpus.as_written is None:
            return []
        interval, (language, *others) = None, self.study.new
        if not others and self.peaks[language].decision == algorithm1.CHANGE:
            # The mix never has more of the new language than the original (`peak_tokens.corpus`).
            interval = tuple(min(bound / corpus.total, self.study.original_share) for bound in corpus.ci[language])
        share = 1 - corpus.as_written[self.study.primary] / corpus.total
        return [Asked(peak_tokens.SOURCE, share, interval)]
