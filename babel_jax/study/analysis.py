"""From a study's measurements to its findings; no checkpoint is loaded.

What cannot be computed is None or absent, and `Findings.missing` says why in full sentences.
"""

import dataclasses
import functools
import json

import numpy as np

from babel_jax import evolution
from babel_jax.common import files, measurements, run_names, statistics
from babel_jax.common.errors import UserError
from babel_jax.common.run_names import RunName
from babel_jax.corpus import mixture, mixture_files
from babel_jax.evolution import dependence, learning, mechanism, stages
from babel_jax.evolution.continual import Curves
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.mixes import Mix, mixes
from babel_jax.evolution.observation import Observation, observation
from babel_jax.evolution.selection import chance_of_choice, select, solved, view
from babel_jax.evolution.tasks import tasks
from babel_jax.optimum import (
    best_corpus,
    compare,
    curve_law,
    eq3,
    laws,
    loss_laws,
    peak_tokens,
    rivals,
    schedules,
    share_sources,
)
from babel_jax.optimum.algorithm1 import Amounts
from babel_jax.optimum.best_corpus import Corpus
from babel_jax.optimum.curve_law import CurveLaw, TokenCurve
from babel_jax.optimum.laws import Law
from babel_jax.optimum.loss_laws import LossLaw
from babel_jax.optimum.schedules import Phase, Schedule, Surface
from babel_jax.optimum.share_sources import CALIBRATED, Proposals
from babel_jax.study import facts, missing, predictions
from babel_jax.study.facts import StudyFacts
from babel_jax.study.findings import Findings, LanguageFindings, PredictedShare, Schedules


def of_study(study_dir) -> Findings:
    """The findings of a study's directory.

    Raises:
      UserError: no study there, one of an earlier version, or no measurements.
    """
    study_dir = files.path(study_dir)
    study = facts.read(study_dir)
    grids = {language: _lens_grid(study_dir, study, language) for language in study.new}
    findings = of_rows(study, measurements.read(study_dir), _stages_of_mixes(study_dir, study))
    languages = {
        language: dataclasses.replace(here, lens_grid=grids[language]) for language, here in findings.languages.items()
    }
    return dataclasses.replace(findings, languages=languages, predictions=predictions.read(study_dir))


def _lens_grid(study_dir, study: StudyFacts, language: str) -> dict | None:
    run_dir = study_dir / f"seed{study.seeds[0]}" / study.run_name("continual", language)
    file = run_dir / "diagnostics" / "lens_grid.json"
    return mechanism.read_lens_grid(file) if file.exists() else None


def _stages_of_mixes(study_dir, study: StudyFacts) -> dict[str, mixture_files.MixtureFile]:
    """By the name of a mix its stages and who made it, where a file of the study or of its run says so."""
    stages_of = {file.stem: mixture_files.read(file) for file in sorted((study_dir / "mixtures").glob("*.json"))}
    online = study_dir / f"seed{study.seeds[0]}" / str(run_names.mix(run_names.ADO))
    if (online / "stages.json").exists():
        stages_of[run_names.ADO] = mixture_files.MixtureFile(
            tuple(mixture.read_stages(online)), made={"by": run_names.ADO}
        )
    return stages_of


def of_rows(study: StudyFacts, frame, stages_of_mixes: dict[str, mixture_files.MixtureFile] | None = None) -> Findings:
    """As `of_study`, of measurement rows and what is known of mixes by name."""
    primary, new = study.primary, study.new
    lacks = missing.of_study(study, frame)
    views = {language: view(frame, primary, language, new) for language in new}
    languages = {
        language: of_language(rows, primary, language, study.original, lacks.append) for language, rows in views.items()
    }
    bar = learning.bar(frame, primary, by_loss=study.kind != "organism" and not chance_of_choice(frame, primary))
    measured = mixes(frame, [primary, *new], stages_of_mixes, bar)
    lacks += missing.mixes_left_out(frame, measured)
    attempt = functools.partial(_attempt, lacks.append)
    corpora = _corpora(languages, primary, study.original, attempt)
    searched = attempt("mixing law", lambda: _searched(measured, new)) or []
    law = attempt("mixing law", lambda: laws.law(searched, [primary, *new], study.original))
    return Findings(
        study=study,
        missing=lacks,
        languages=languages,
        corpora=corpora,
        corpora_joint=_joint(languages, primary, study.original, corpora) if len(new) > 1 else {},
        mixes=measured,
        bar=bar,
        comparisons=compare.comparisons(measured, study.original_mix),
        laws=law,
        schedules=_schedules(views, study, measured, attempt),
        predicted=predicted_shares(measured, primary),
        costs=rivals.flops([(run.name, run.seed, run.flops) for run in study.runs if run.flops]),
        loss_laws=_loss_laws(searched, [primary, *new], attempt),
        tasks=tasks(frame, views),
        curve_laws=_curve_laws(languages, searched, primary, law, attempt),
    )


def _attempt(report, what: str, compute):
    """What `compute` returns; None where it cannot be computed, and then the reason is reported."""
    try:
        return compute()
    except UserError as error:
        report(f"{what[0].upper()}{what[1:]}: {error}")
        return None


# --- one new language -----------------------------------------------------------------------------------------------------


def of_language(rows, primary: str, language: str, original: dict[str, float], report) -> LanguageFindings:
    """What the rows about the primary and one new language say.

    Args:
      rows: from `evolution.rows.view`.
      original: {language: tokens} of the original corpus.
      report: called with a sentence about what could not be computed.
    """
    gaps = []
    curves, proposals, depends = evolution.curves(rows, primary, language), Proposals(), None
    seen, predictor = observation(rows, curves), observation(rows, curves, "predictor")
    predicting = predictor or (seen if curves.above_chance else None)
    if curves.above_chance is False:
        gaps.append("No score is above chance, so there is no P* and no proposal.")
    elif seen and curves.continual:
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
        report(f"{language}: {sentence}")
    return LanguageFindings(
        **vars(proposals),
        curves=curves,
        dependence=depends,
        gaps=gaps,
        causes=mechanism.causes(rows, language),
        drift=mechanism.drift(rows, language),
        observation=seen,
        predictor=predictor,
        peak_tokens=peak_tokens.of_observation(predicting) if predicting else None,
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
    by_source = {
        source: {name: here.proposals[source] for name, here in languages.items() if source in here.proposals}
        for source in (*share_sources.SOURCES, CALIBRATED)
    }
    return {source: proposals for source, proposals in by_source.items() if proposals}


def _corpora(languages: dict[str, LanguageFindings], primary: str, original: dict, attempt) -> dict[str, Corpus]:
    corpora = {
        source: attempt(f"corpus from {source}", lambda p=proposals: best_corpus.corpus(p, primary, original))
        for source, proposals in _by_source(languages).items()
    }
    return {source: corpus for source, corpus in corpora.items() if corpus is not None}


def _joint(languages, primary: str, original: dict, pairwise: dict[str, Corpus]) -> dict[str, Corpus | None]:
    """Of the sources that have a corpus in the pairwise reading."""

    def joint(proposals) -> Corpus | None:
        try:
            return best_corpus.corpus(proposals, primary, original, "joint")
        except UserError:  # the languages ask for more than there is
            return None

    return {source: joint(proposals) for source, proposals in _by_source(languages).items() if source in pairwise}


def _searched(measured: list[Mix], new: list[str]) -> list[Mix]:
    """The mixes of a swarm and a sweep, which laws are fitted to; none is fitted to noise."""
    searched = [mix for mix in measured if mix.run_name.is_swarm or mix.run_name.is_share]
    if searched and not any(compare.learned(mix, language) for mix in searched for language in new):
        raise UserError("no mix has learned a new language, so there is nothing to predict; train for longer.")
    if searched and np.ptp([mix.macro.mean() for mix in searched]) == 0:
        raise UserError("every mix has the same mean score, so there is nothing to predict.")
    return searched


def _loss_laws(searched: list[Mix], languages: list[str], attempt) -> dict[str, LossLaw]:
    """Those that can be fitted, by name; {} where there are no more mixes than a law has parameters."""
    if len(searched) < len(languages) + 2:
        return {}
    fitted = {
        name: attempt(f"rival {name}", functools.partial(law, searched, languages))
        for name, law in loss_laws.LAWS.items()
    }
    return {name: law for name, law in fitted.items() if law is not None}


def _curve_laws(
    languages: dict[str, LanguageFindings], searched: list[Mix], primary: str, law: Law | None, attempt
) -> dict[str, CurveLaw]:
    """By new language; {} where there are too few mixes to test a curve on."""
    if len(searched) < curve_law.LEAST_MIXES:
        return {}
    fitted = {
        language: attempt(
            f"curve as a law in {language}",
            lambda here=here: curve_law.fit(_token_curve(here), searched, [primary, *languages], law),
        )
        for language, here in languages.items()
        if here.predicting
    }
    return {language: one for language, one in fitted.items() if one is not None}


def _token_curve(here: LanguageFindings) -> TokenCurve:
    seen, run = here.predicting, "predictor" if here.predictor else "continual"
    if not any(stages.learned(at_once, seen.chance) for at_once in zip(*seen.solved, strict=True)):
        raise UserError(
            f"run '{run}' has not learned {seen.language}, so its curve foretells nothing; train it for longer."
        )
    return TokenCurve(seen.language, run, seen.tokens, seen.score_SxC)


def _schedules(views: dict, study: StudyFacts, measured: list[Mix], attempt) -> Schedules | None:
    """The surface of continual runs with replay and the schedule that it proposes, of as many tokens as a mix has.

    `views`: the rows about each new language.
    """
    names = {run_names.parse(str(run)) for rows in views.values() for run in rows["run"].unique()}
    shares = sorted(name.share for name in names if name.role == "replay")
    tokens = [mix.tokens for mix in measured if mix.name == study.original_mix]
    if not shares or not tokens:
        return None
    # Replays are trained as the continual run is that predicts mixes, where a study has one of its own.
    alone = "predictor" if any(name.role == "predictor" for name in names) else "continual"
    runs = {0.0: alone} | {share: str(RunName("replay", share=share)) for share in shares}
    surface = attempt("schedules", lambda: _surface(views, study.primary, runs))
    if surface is None:
        return None
    proposal = attempt("schedule", lambda: _schedule(views, study.primary, list(runs.values()), surface, tokens[0]))
    return Schedules(surface, proposal)


def _schedule(views: dict, primary: str, runs: list[str], surface: Surface, tokens: int) -> Schedule:
    """schedules.propose, where there is something to choose by: each new language is learned in one of the runs."""
    for language, rows in views.items():
        judged = [solved(rows, run, language) for run in runs]
        if not any(stages.learned(at_once, one.chance) for one in judged for at_once in zip(*one.solved, strict=True)):
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
            predicted = float(eq3.pairwise_share(share, of_primary))
            ci = tuple(np.clip([low, high], 0, 1).tolist())
            rows.append(PredictedShare(mix.run, mix.name, language, predicted, mean, ci, measured_S))
    return rows
