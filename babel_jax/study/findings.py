"""Everything that a study says: what the report draws and the verb `optimize` prints.

From stored measurements alone; no checkpoint is loaded. What cannot be computed is None or absent, and `missing` says why
in full sentences.
"""

import collections
import dataclasses
import functools
import json

import numpy as np

from babel_jax import evolution
from babel_jax.common import files, measurements, run_names, statistics
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture, mixture_files
from babel_jax.evolution import dependence, mechanism, stages
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.mechanism import Causes, Drift
from babel_jax.evolution.mixes import MACRO, Mix, mixes
from babel_jax.evolution.observation import Observation, observation
from babel_jax.evolution.selection import select, solved, view
from babel_jax.evolution.stages import Stages
from babel_jax.optimum import algorithm1, compare, laws, rivals, schedules, share_sources
from babel_jax.optimum.algorithm1 import Amounts, Corpus
from babel_jax.optimum.compare import Comparison, Guard
from babel_jax.optimum.laws import Law
from babel_jax.optimum.rivals import Cost
from babel_jax.optimum.schedules import Phase, Schedule, Surface
from babel_jax.optimum.share_sources import CALIBRATED, Proposals
from babel_jax.study import candidates, facts, missing
from babel_jax.study.facts import StudyFacts

# --- what it says ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageFindings(Proposals):
    """What the rows about the primary and one new language say, and what every source proposes for it.

    Attributes:
      curves: all of them.
      dependence: None where no problem was judged.
      gaps: sentences about what could not be computed.
      causes, drift: None where not measured.
      lens_grid: of the first seed's continual run, as arrays (`diagnostics.lens_grid`).
    """

    curves: Curves
    dependence: Dependence | None
    gaps: list[str]
    causes: Causes | None
    drift: Drift | None
    lens_grid: dict | None = None

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
      laws, schedules: None where there are too few runs.
      predicted: the primary's share in from-scratch runs.
      costs: of the searches.
    """

    study: StudyFacts
    missing: list[str]
    languages: dict[str, LanguageFindings]
    corpora: dict[str, Corpus]
    corpora_joint: dict[str, Corpus | None]
    mixes: list[Mix]
    comparisons: list[Comparison]
    laws: Law | None
    schedules: Schedules | None
    predicted: list[PredictedShare]
    costs: list[Cost]

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
        """The mix that the optimiser stands for: Algorithm 1's with the calibrated share, or else with the paper's."""
        wanted = (candidates.algorithm1(source) for source in (CALIBRATED, algorithm1.DEFAULT_SOURCE))
        return next((name for name in wanted if self.mix_named(name)), None)

    def new_share(self, mix: Mix) -> float:
        """The new languages' share of a mix's tokens."""
        return 1 - mix.shares.get(self.study.primary, 0.0)

    def against_original(self, name: str) -> Comparison | None:
        """A mix against the original one in the main score, both trained."""
        wanted = ("mix", self.original_name, name, self.main_score)
        found = (one for one in self.comparisons if (one.kind, one.first, one.second, one.score) == wanted)
        return next(found, None)

    def between(self, first: str, second: str) -> Comparison | None:
        """Two mixes in the main score; None where one of them was not trained."""
        if self.mix_named(first) is None or self.mix_named(second) is None:
            return None
        return compare.compare(self.mixes, first, second, self.main_score)

    def guard(self, name: str) -> Guard | None:
        """Whether a mix harms a language, against the original one; None where one of them was not trained."""
        if self.original_name is None or self.mix_named(name) is None:
            return None
        return compare.guard(self.mixes, self.original_name, name)

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
        """How far a mix stays behind the best in the main score, among its `static_rivals` and itself."""
        others = self.static_rivals(name)
        return compare.gap_to_best([self.mix_named(name), *others], name, self.main_score) if others else None

    def learned(self, mixes: list[Mix]) -> bool:
        """Whether any of some mixes has learned any new language."""
        return any(compare.learned(mix, language) for mix in mixes for language in self.study.new)

    @property
    def asked(self) -> list[Asked]:
        """What Algorithm 1 asks for by each source, as the mixes are made from it.

        The losses and the measured share as the paper writes the rule (a language that asks for tokens without end keeps what
        it has); the calibrated share as the tests allow. An interval with one new language alone, where its proposal is what
        is asked.
        """
        found = []
        for source, corpus in self.corpora.items():
            proposals = [here.proposals[source] for here in self.languages.values() if source in here.proposals]
            if all(np.isnan(proposal.p_star) for proposal in proposals):
                continue  # it asks for nothing
            tokens = corpus.tokens if source == CALIBRATED else corpus.as_written or corpus.unconstrained
            tokens = candidates.finite(tokens, self.study.original)
            interval = None
            if len(self.languages) == 1 and (source != CALIBRATED or proposals[0].decision == algorithm1.CHANGE):
                interval = proposals[0].share_ci
            found.append(Asked(source, 1 - tokens[self.study.primary] / sum(tokens.values()), interval))
        return found


def of_study(study_dir) -> Findings:
    """The findings of a study's directory.

    Raises:
      UserError: no study there, one of an earlier version, or no measurements.
    """
    study_dir = files.path(study_dir)
    study = facts.read(study_dir)
    grids = {language: _lens_grid(study_dir, study, language) for language in study.new}
    found = of_rows(study, measurements.read(study_dir), _stages_of_mixes(study_dir, study))
    languages = {
        language: dataclasses.replace(here, lens_grid=grids[language]) for language, here in found.languages.items()
    }
    return dataclasses.replace(found, languages=languages)


def _lens_grid(study_dir, study: StudyFacts, language: str) -> dict | None:
    run_dir = study_dir / f"seed{study.seeds[0]}" / study.run_name("continual", language)
    file = run_dir / "diagnostics" / "lens_grid.json"
    return mechanism.read_lens_grid(file) if file.exists() else None


def _stages_of_mixes(study_dir, study: StudyFacts) -> dict[str, mixture_files.MixtureFile]:
    """By the name of a mix its stages and who made it, where a file of the study or of its run says so."""
    found = {file.stem: mixture_files.read(file) for file in sorted((study_dir / "mixtures").glob("*.json"))}
    online = study_dir / f"seed{study.seeds[0]}" / str(run_names.mix(run_names.ADO))
    if (online / "stages.json").exists():
        found[run_names.ADO] = mixture_files.MixtureFile(tuple(mixture.read_stages(online)), made={"by": run_names.ADO})
    return found


def of_rows(study: StudyFacts, frame, stages_of_mixes: dict[str, mixture_files.MixtureFile] | None = None) -> Findings:
    """As `of_study`, of measurement rows and what is known of mixes by name."""
    primary, new = study.primary, study.new
    lacks = missing.of_study(study, frame)
    views = {language: view(frame, primary, language, new) for language in new}
    languages = {
        language: of_language(rows, primary, language, study.original, lacks.append) for language, rows in views.items()
    }
    measured = mixes(frame, [primary, *new], stages_of_mixes)
    lacks += missing.mixes_left_out(frame, measured)
    attempt = functools.partial(_attempt, lacks.append)
    corpora = _corpora(languages, primary, study.original, attempt)
    return Findings(
        study=study,
        missing=lacks,
        languages=languages,
        corpora=corpora,
        corpora_joint=_joint(languages, primary, study.original, corpora) if len(new) > 1 else {},
        mixes=measured,
        comparisons=compare.comparisons(measured, study.original_mix),
        laws=attempt("mixing law", lambda: _law(measured, study)),
        schedules=_schedules(views, study, measured, attempt),
        predicted=predicted_shares(measured, primary),
        costs=rivals.flops([(run.name, run.seed, run.flops) for run in study.runs if run.flops]),
    )


def _attempt(say, what: str, compute):
    """What `compute` returns; None where it cannot be computed, and then the reason is said."""
    try:
        return compute()
    except UserError as error:
        say(f"{what[0].upper()}{what[1:]}: {error}")
        return None


# --- one new language -----------------------------------------------------------------------------------------------------


def of_language(rows, primary: str, language: str, original: dict[str, float], say) -> LanguageFindings:
    """What the rows about the primary and one new language say.

    Args:
      rows: from `evolution.rows.view`.
      original: {language: tokens} of the original corpus.
      say: called with a sentence about what could not be computed.
    """
    gaps = []
    curves, proposals, depends = evolution.curves(rows, primary, language), Proposals(), None
    seen = observation(rows, curves)
    if seen and curves.continual:
        depends = _dependence(seen, curves)
        shares = share_sources.shares_of(seen, attempt=functools.partial(_attempt, gaps.append))
        amounts = Amounts(original[primary], original[language])
        proposals = share_sources.proposals(seen, shares, curves.continual, depends, amounts)
    if curves.continual and not curves.continual.rises:
        gaps.append(f"Nothing is read at the best checkpoint: {stages.no_peak(curves.continual)}.")
    if curves.unlearned:
        runs = " and ".join(run.replace("_", "-") for run in curves.unlearned)
        gaps.append(f"There is no knowledge share: the {runs} model has not learned to solve anything.")
    for sentence in gaps:
        say(f"{language}: {sentence}")
    return LanguageFindings(
        **vars(proposals),
        curves=curves,
        dependence=depends,
        gaps=gaps,
        causes=mechanism.causes(rows, language),
        drift=mechanism.drift(rows, language),
    )


def _dependence(seen: Observation, curves: Curves) -> Dependence:
    peak = curves.continual.peak
    shares = {
        name: seen.shares[name][:, peak.index].tolist() for name in share_sources.CALIBRATED_BY if name in seen.shares
    }
    knowledge, lens = curves.knowledge.get("continual"), curves.lens.get(("continual", "primary_share_pair"))
    counts = {}
    if knowledge is not None:
        at_peak = int(np.searchsorted(knowledge.steps, peak.step))
        counts["knowledge_share"] = knowledge.solved_SxC[:, at_peak].tolist()
    if lens and lens[0] is not None:
        counts["working_language"] = [lens[0].n] * len(seen.seeds)
    return dependence.dependence(curves.continual, shares, counts)


# --- all languages --------------------------------------------------------------------------------------------------------


def _by_source(languages: dict[str, LanguageFindings]) -> dict[str, dict]:
    """{source: {language: its proposal}}, without sources that propose nothing."""
    found = {
        source: {name: here.proposals[source] for name, here in languages.items() if source in here.proposals}
        for source in (*share_sources.SOURCES, CALIBRATED)
    }
    return {source: proposals for source, proposals in found.items() if proposals}


def _corpora(languages: dict[str, LanguageFindings], primary: str, original: dict, attempt) -> dict[str, Corpus]:
    found = {
        source: attempt(f"corpus from {source}", lambda p=proposals: algorithm1.corpus(p, primary, original))
        for source, proposals in _by_source(languages).items()
    }
    return {source: corpus for source, corpus in found.items() if corpus is not None}


def _joint(languages, primary: str, original: dict, pairwise: dict[str, Corpus]) -> dict[str, Corpus | None]:
    """Of the sources that have a corpus in the pairwise reading."""

    def joint(proposals) -> Corpus | None:
        try:
            return algorithm1.corpus(proposals, primary, original, "joint")
        except UserError:  # the languages ask for more than there is
            return None

    return {source: joint(proposals) for source, proposals in _by_source(languages).items() if source in pairwise}


def _law(measured: list[Mix], study: StudyFacts) -> Law | None:
    """A law of the mean score; none is fitted to noise."""
    searched = [mix for mix in measured if mix.run_name.is_swarm or mix.run_name.is_share]
    if searched and not any(compare.learned(mix, language) for mix in searched for language in study.new):
        raise UserError("no mix has learned a new language, so there is nothing to predict; train for longer.")
    if searched and np.ptp([mix.macro.mean() for mix in searched]) == 0:
        raise UserError("every mix has the same mean score, so there is nothing to predict.")
    return laws.law(searched, [study.primary, *study.new], study.original)


def _schedules(views: dict, study: StudyFacts, measured: list[Mix], attempt) -> Schedules | None:
    """The surface of continual runs with replay and the schedule that it proposes, of as many tokens as a mix has.

    `views`: the rows about each new language.
    """
    names = {run_names.parse(str(run)) for rows in views.values() for run in rows["run"].unique()}
    shares = sorted(name.share for name in names if name.role == "replay")
    tokens = [mix.tokens for mix in measured if mix.name == study.original_mix]
    if not shares or not tokens:
        return None
    runs = {0.0: "continual"} | {share: str(RunName("replay", share=share)) for share in shares}
    surface = attempt("schedules", lambda: _surface(views, study.primary, runs))
    if surface is None:
        return None
    proposal = attempt("schedule", lambda: _schedule(views, study.primary, list(runs.values()), surface, tokens[0]))
    return Schedules(surface, proposal)


def _schedule(views: dict, primary: str, runs: list[str], surface: Surface, tokens: int) -> Schedule:
    """schedules.propose, where there is something to choose by: each new language is learned in one of the runs."""
    for language, rows in views.items():
        judged = [solved(rows, run, language) for run in runs]
        if not any(stages.learned(at_once) for one in judged for at_once in zip(*one.solved, strict=True)):
            raise UserError(
                f"no continual run has learned {language}, so no phase of it is better than another; train for longer."
            )
    return schedules.propose(surface, primary, tokens)


def _surface(views: dict, primary: str, runs: dict[float, str]) -> Surface:
    of_new, of_primary = (
        {name: {r: _phase(rows, run, which or name) for r, run in runs.items()} for name, rows in views.items()}
        for which in (None, primary)
    )
    return schedules.surface(of_new, of_primary)


def _phase(rows, run: str, language: str) -> Phase:
    """What a run reached in one language."""
    judged = solved(rows, run, language)
    if judged is None:
        raise UserError(f"run '{run}' was not judged in {language}; run the study again.")
    accuracy = select(rows, run=run, language=language, metric="accuracy").drop_duplicates("step")
    seen = {step: json.loads(text) for step, text in zip(accuracy["step"], accuracy["tokens_by_language"], strict=True)}
    tokens = np.array([seen[step].get(language, 0) for step in judged.steps], float)
    return Phase(judged.seeds, judged.steps, tokens, judged.solved)


def predicted_shares(measured: list[Mix], primary: str) -> list[PredictedShare]:
    """The primary's share that Eq. 2 predicts from each mix's tokens, for each new language that its lens was run in."""
    rows = []
    for mix in measured:
        for language, measured_S in mix.primary_share.items():
            share, of_primary = mix.shares[language], mix.shares[primary]
            if not share + of_primary or np.isnan(measured_S).all():
                continue
            mean, low, high = (float(value) for value in statistics.student(measured_S))
            predicted = float(algorithm1.pairwise_share(share, of_primary))
            ci = tuple(np.clip([low, high], 0, 1).tolist())
            rows.append(PredictedShare(mix.run, mix.name, language, predicted, mean, ci, measured_S))
    return rows
