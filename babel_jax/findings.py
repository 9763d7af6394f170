"""Everything that a study says, in one plain dict: what the report draws and the verb `optimize` prints.

From stored measurements alone; no checkpoint is loaded. What cannot be computed is None or absent, and `missing` says why
in full sentences.
"""

import collections
import dataclasses
import functools
import json

import numpy as np

from babel_jax import candidates, evolution, files, measurements, mixtures, statistics
from babel_jax.arguments import SEEDS
from babel_jax.bridge import Keyed
from babel_jax.corpus import mixture
from babel_jax.errors import UserError
from babel_jax.evolution import dependence, diagnostics, measured, stages
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.diagnostics import Causes, Drift
from babel_jax.evolution.measured import Curve, Curves, Mix
from babel_jax.evolution.stages import Stages
from babel_jax.optimum import algorithm1, compare, laws, rivals, schedules, sources
from babel_jax.optimum.algorithm1 import Corpus, Proposal
from babel_jax.optimum.calibration import Calibration, Chosen
from babel_jax.optimum.compare import Comparison
from babel_jax.optimum.laws import Law
from babel_jax.optimum.rivals import Cost
from babel_jax.optimum.schedules import Schedule, Surface
from babel_jax.optimum.share import Share

AGAIN = "run the study again, which writes it anew from what stands there"
STUDY = {  # of study.json
    "kind": str,
    "primary": str,
    "new": [str],
    "seeds": [SEEDS],
    "original": {str: float},
    "original_share": float,
    "runs": [{"run": str, "seed": SEEDS, "flops?": float}],
    "config": {"candidates?": [str]},
    "wall_seconds?": {str: float},
    "versions?": {str: str},
}


@dataclasses.dataclass(frozen=True)
class StudyRun(Keyed):
    """A run of a study, with the operations to train it; None: not counted."""

    run: str
    seed: int
    flops: float | None = None


@dataclasses.dataclass(frozen=True)
class StudyFacts(Keyed):
    """What study.json says of a study.

    Attributes:
      kind: "organism" or "real_code".
      primary, new, seeds: its languages and seeds.
      original: {language: tokens} of the original corpus; original_share: of the new languages in it.
      runs: planned ones.
      candidates: names of the from-scratch mixes that were wanted.
      wall_seconds, versions: seconds by phase; versions of libraries.
    """

    kind: str
    primary: str
    new: list[str]
    seeds: list[int]
    original: dict[str, float]
    original_share: float
    runs: list[StudyRun]
    candidates: list[str] = dataclasses.field(default_factory=list)
    wall_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LanguageFindings(Keyed):
    """What the rows about the primary and one new language say.

    Attributes:
      curves: all of them.
      dependence: None where no problem was judged.
      measured: {name: curve of the primary's share as it was measured}.
      shares: {source: the primary's share}.
      calibration: {source: {measured name: …}}; chosen: what the calibrated proposal uses.
      proposals: {source: …}.
      gaps: sentences about what could not be computed.
      causes, drift: None where not measured.
      lens_grid: of the first seed's continual run, as arrays (`diagnostics.lens_grid`).
    """

    curves: Curves
    dependence: Dependence | None
    measured: dict[str, Curve]
    shares: dict[str, Share]
    calibration: dict[str, dict[str, Calibration]]
    chosen: Chosen | None
    proposals: dict[str, Proposal]
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


@dataclasses.dataclass(frozen=True)
class PredictedShare(Keyed):
    """The primary's share that Eq. 2 predicts from a mix's tokens, against the one measured in the from-scratch run.

    Attributes:
      run, name: of the mix; language: a new one.
      predicted: pairwise, primary / (primary + language); joint: 1 - the language's share of all tokens.
      measured, ci: by the lens in the intermediate layers, over seeds; by_seed: [S].
    """

    run: str
    name: str
    language: str
    predicted: float
    joint: float
    measured: float
    ci: tuple[float, float]
    by_seed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Schedules(Keyed):
    """What the continual runs with replay reach, and the schedule that they propose."""

    surface: Surface
    proposal: Schedule | None


@dataclasses.dataclass(frozen=True)
class Findings(Keyed):
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


def of_study(study_dir) -> dict:
    """The findings of a study's directory.

    Returns:
      dict: study (study.json), missing [sentences], languages {new language: findings of `of_language`}, corpora {source:
      algorithm1.corpus}, corpora_joint {the same in the joint reading; None where that has no solution} (empty with one
      new language, where both readings are one), mixes (measured.mixes), comparisons (compare.comparisons), laws
      (laws.law), schedules {"surface", "proposal"}, predicted (rows of `predicted_shares`), costs (rivals.flops).

    Raises:
      UserError: no study there, one of an earlier version, or no measurements.
    """
    study_dir = files.path(study_dir)
    if not (study_dir / "study.json").exists():
        raise UserError(f"{study_dir} is no study: it has no study.json; run `study` first.")
    study = files.read_json(study_dir / "study.json", dict, AGAIN)
    if not {"original", "original_share"} <= study.keys() or isinstance(study.get("new"), str):
        raise UserError(f"{study_dir}/study.json is of an earlier version; run the study again with this one.")
    study = files.read_json(study_dir / "study.json", STUDY, AGAIN)
    if wrong := _contradiction(study):
        raise UserError(f"{study_dir}/study.json is damaged: {wrong}; {AGAIN}.")
    grids = {language: _lens_grid(study_dir, study, language) for language in study["new"]}
    found = of_rows(study, measurements.read(study_dir), _stages_of_mixes(study_dir, study))
    for language, about in found["languages"].items():
        about["lens_grid"] = grids[language]
    return found


def _contradiction(study: dict) -> str | None:
    """What in a study.json of the right shape no study can have."""
    for name in ("new", "seeds"):
        if not study[name] or len(set(study[name])) < len(study[name]):
            return f"{name} is empty, or names something twice"
    languages = [study["primary"], *study["new"]]
    if study["original"].keys() != set(languages) or len(set(languages)) < len(languages):
        return "primary, new and original do not name the same languages"
    if min(study["original"].values()) <= 0 or not 0 <= study["original_share"] <= 1:
        return "original or original_share is no amount of tokens"
    return None


def _lens_grid(study_dir, study: dict, language: str) -> dict | None:
    run_dir = study_dir / f"seed{study['seeds'][0]}" / _run(study, "continual", language)
    file = run_dir / "diagnostics" / "lens_grid.json"
    return diagnostics.read_lens_grid(file) if file.exists() else None


def _stages_of_mixes(study_dir, study: dict) -> dict[str, dict]:
    """By the name of a mix its stages and who made it, where a file of the study or of its run says so."""
    found = {file.stem: mixtures.read(file) for file in sorted((study_dir / "mixtures").glob("*.json"))}
    online = study_dir / f"seed{study['seeds'][0]}" / "mix_ado"
    if (online / "stages.json").exists():
        found["ado"] = {"stages": mixture.read_stages(online), "made": {"by": "ado"}}
    return found


def of_rows(study: dict, frame, stages_of_mixes: dict[str, dict] | None = None) -> dict:
    """As `of_study`, of study.json's content, measurement rows and what is known of mixes by name."""
    primary, new = study["primary"], study["new"]
    missing = _missing(study, frame)
    tokens = study["original"]
    views = {language: measured.view(frame, primary, language, new) for language in new}
    languages = {
        language: of_language(view, primary, language, tokens, missing.append) for language, view in views.items()
    }
    mixes = measured.mixes(frame, [primary, *new], stages_of_mixes)
    missing += _left_out(frame, mixes)
    attempt = functools.partial(_attempt, missing.append)
    original = f"{study['original_share']:.4f}"
    corpora = _corpora(languages, primary, tokens, attempt)
    searched = [mix for mix in mixes if mix["name"].startswith("swarm_") or mix["name"].replace(".", "").isdigit()]
    return {
        "study": study,
        "missing": missing,
        "languages": languages,
        "corpora": corpora,
        "corpora_joint": _joint(languages, primary, tokens, corpora) if len(new) > 1 else {},
        "mixes": mixes,
        "comparisons": compare.comparisons(mixes, original),
        "laws": attempt("mixing law", lambda: _law(searched, primary, new, tokens)),
        "schedules": _schedules(frame, study, mixes, attempt),
        "predicted": predicted_shares(mixes, primary),
        "costs": rivals.flops([run for run in study["runs"] if run.get("flops")]),
    }


def _run(study: dict, role: str, language: str) -> str:
    return f"{role}_{language}" if len(study["new"]) > 1 else role


def _attempt(say, what: str, compute):
    """What `compute` returns; None where it cannot be computed, and then the reason is said."""
    try:
        return compute()
    except UserError as error:
        say(f"{what[0].upper()}{what[1:]}: {error}")
        return None


def _missing(study: dict, frame) -> list[str]:
    """What a study should have and does not, in sentences."""
    found = []
    there = collections.defaultdict(set)
    for run, seed in frame[["run", "seed"]].drop_duplicates().itertuples(index=False):
        there[str(run)].add(int(seed))
    planned = collections.defaultdict(set)
    for run in study["runs"]:
        if run["run"] != "primary_climb":
            planned[run["run"]].add(run["seed"])
    for run, seeds in planned.items():
        if gone := sorted(seeds - there[run]):
            found.append(f"Run {run} has no measurements of seed {', '.join(map(str, gone))}; run the study again.")
    for name in study["config"].get("candidates", ()):
        if f"mix_{name}" not in planned:
            plain = name.removesuffix(candidates.EQUAL_EPOCHS)
            reason = "it changes nothing, or what it is made from is missing"
            if plain != name and f"mix_{plain}" in planned:
                reason = (
                    f"to show {study['primary']} as often, it would take {candidates.LONGEST:g} times the steps or more"
                )
            found.append(f"Mix {name} was not trained: {reason}.")
    for language in study["new"]:
        for role, what in (("control", "what the decline is owed to"), ("new_only", "the knowledge share")):
            if _run(study, role, language) not in there:
                found.append(f"There is no {role} run in {language}, so nothing is known of {what}.")
        found += _missing_checkpoints(frame, _run(study, "continual", language), language)
    losses = frame[frame["metric"].isin(["loss", "loss_knowledge"]).to_numpy(bool)]
    for run in losses.loc[~np.isfinite(losses["value"].to_numpy(float)), "run"].unique():
        found.append(f"Run {run} has a loss that is no number; it has diverged.")
    if len(study["seeds"]) == 1:
        found.append("There is one seed: intervals speak about its problems, not about other seeds.")
    return found


def _missing_checkpoints(frame, run: str, language: str) -> list[str]:
    rows = measured.select(frame, run=run)
    judged = rows[((rows["metric"] == "solved") & (rows["language"] == language)).to_numpy(bool)]
    if len(rows) and judged.empty:
        return [f"No problem was judged in {language} in run {run}: no stages, and nothing for Algorithm 1."]
    steps_of = {seed: set(part["step"]) for seed, part in judged.groupby("seed")}
    common = set.intersection(*steps_of.values()) if steps_of else set()
    every = set().union(*steps_of.values())
    found = [
        f"Run {run} of seed {seed} lacks checkpoints that another seed has: {', '.join(map(str, sorted(every - steps)))}; "
        "they are left out of all."
        for seed, steps in steps_of.items()
        if every - steps
    ]
    if len(common) < 3:
        found.append(f"The continual run in {language} has {len(common)} measured checkpoints; stages need at least 3.")
    return found


def _left_out(frame, mixes: list[dict]) -> list[str]:
    """The mixes that were measured and are not compared, in sentences."""
    there = {str(run) for run in frame["run"].unique() if str(run).startswith("mix_")}
    return [
        f"Run {run} is left out of the comparisons: in some seed or language its last checkpoint was not judged."
        for run in sorted(there - {mix["run"] for mix in mixes})
    ]


# --- one new language -----------------------------------------------------------------------------------------------------


def of_language(view, primary: str, language: str, original: dict[str, float], say=lambda sentence: None) -> dict:
    """What the rows about the primary and one new language say.

    Args:
      view: from `measured.view`.
      original: {language: tokens} of the original corpus; {}: not known.
      say: called with a sentence about what could not be computed.
    Returns:
      dict: curves (evolution.curves), stages and control (stages.verdict of the continual run and the control),
      dependence, shares {source: share.share_curve}, measured {name: curve}, calibration {source: {measured name:
      calibration.calibrate}}, chosen (the link that the calibrated proposal uses), proposals {source:
      algorithm1.propose}, gaps [sentences about what could not be computed], causes, drift, lens_grid.
    """
    gaps = []
    attempt = functools.partial(_attempt, gaps.append)
    curves = evolution.curves(view, primary, language)
    verdicts = {
        run: judged and stages.verdict(judged["steps"], judged["solved"])
        for run in ("continual", "control")
        for judged in [measured.solved(view, run, language)]
    }
    observation = measured.observation(view, curves)
    verdict = verdicts["continual"]
    depends, found = None, {"shares": {}, "calibration": {}, "chosen": None, "proposals": {}}
    if observation and verdict:
        depends = _dependence(observation, verdict, curves)
        amounts = original.get(primary, 1.0), original.get(language)
        found = sources.proposals(observation, verdict, depends, *amounts, attempt=attempt)
    if verdict and not verdict["rises"]:
        gaps.append(f"Nothing is read at the best checkpoint: {stages.no_peak(verdict)}.")
    if curves["unlearned"]:
        runs = " and ".join(run.replace("_", "-") for run in curves["unlearned"])
        gaps.append(f"There is no knowledge share: the {runs} model has not learned to solve anything.")
    for sentence in gaps:
        say(f"{language}: {sentence}")
    return {
        "curves": curves,
        "stages": verdict,
        "control": verdicts["control"],
        "dependence": depends,
        "measured": measured.measured_shares(curves),
        **found,
        "gaps": gaps,
        "causes": diagnostics.causes(view, language),
        "drift": diagnostics.drift(view, language),
        "lens_grid": None,
    }


def _dependence(observation: dict, verdict: dict, curves: dict) -> dict:
    peak = int(np.searchsorted(observation["steps"], verdict["peak"]["step"]))
    shares = {
        name: observation["shares"][name][:, peak].tolist()
        for name in sources.CALIBRATED_BY
        if name in observation["shares"]
    }
    knowledge, lens = curves["knowledge"].get("continual"), curves["lens"].get(("continual", "primary_share_pair"))
    counts = {}
    if knowledge is not None:
        at_peak = int(np.searchsorted(knowledge["steps"], verdict["peak"]["step"]))
        counts["knowledge_share"] = knowledge["solved_SxC"][:, at_peak].tolist()
    if lens and lens[0] is not None:
        counts["working_language"] = [lens[0]["n"]] * len(observation["seeds"])
    return dependence.dependence(verdict, shares, counts)


# --- all languages --------------------------------------------------------------------------------------------------------


def _by_source(languages: dict) -> dict[str, dict]:
    """{source: {language: its proposal}}, without sources that propose nothing."""
    found = {
        source: {name: about["proposals"][source] for name, about in languages.items() if source in about["proposals"]}
        for source in (*sources.SOURCES, sources.CALIBRATED)
    }
    return {source: proposals for source, proposals in found.items() if proposals}


def _corpora(languages: dict, primary: str, original: dict, attempt) -> dict[str, dict]:
    found = {
        source: attempt(f"corpus from {source}", lambda p=proposals: algorithm1.corpus(p, primary, original))
        for source, proposals in _by_source(languages).items()
    }
    return {source: corpus for source, corpus in found.items() if corpus is not None}


def _law(mixes: list[dict], primary: str, new: list[str], original: dict) -> dict | None:
    """laws.law of the mean score; none is fitted to noise."""
    if mixes and not any(compare.learned(mix, language) for mix in mixes for language in new):
        raise UserError("no mix has learned a new language, so there is nothing to predict; train for longer.")
    if mixes and np.ptp([mix["macro"].mean() for mix in mixes]) == 0:
        raise UserError("every mix has the same mean score, so there is nothing to predict.")
    return laws.law(mixes, [primary, *new], "score", original)


def _joint(languages: dict, primary: str, original: dict, pairwise) -> dict[str, dict | None]:
    """Of the sources that have a corpus in the pairwise reading."""
    found = {}
    for source, proposals in _by_source(languages).items():
        if source not in pairwise:
            continue
        try:
            found[source] = algorithm1.corpus(proposals, primary, original, "joint")
        except UserError:  # the languages ask for more than there is
            found[source] = None
    return found


def _schedules(frame, study: dict, mixes: list[dict], attempt) -> dict | None:
    """The surface of continual runs with replay and the schedule that it proposes, of as many tokens as a mix has."""
    primary, new = study["primary"], study["new"]
    shares = sorted({float(str(run).split("_")[1]) for run in frame["run"].unique() if str(run).startswith("replay_")})
    tokens = [mix["tokens"] for mix in mixes if mix["name"] == f"{study['original_share']:.4f}"]
    if not shares or not tokens:
        return None
    surface = attempt("schedules", lambda: _surface(frame, primary, new, shares))
    if surface is None:
        return None
    runs = ["continual", *(f"replay_{share:.4f}" for share in shares)]
    proposal = attempt("schedule", lambda: _schedule(frame, study, runs, surface, tokens[0]))
    return {"surface": surface, "proposal": proposal}


def _schedule(frame, study: dict, runs: list[str], surface: dict, tokens: int) -> dict:
    """schedules.propose, where there is something to choose by: each new language is learned in one of the runs."""
    primary, new = study["primary"], study["new"]
    for language in new:
        view = measured.view(frame, primary, language, new)
        found = [measured.solved(view, run, language) for run in runs]
        if not any(
            stages.learned([solved_CxQ[c] for solved_CxQ in one["solved"]])
            for one in found
            for c in range(len(one["steps"]))
        ):
            raise UserError(
                f"no continual run has learned {language}, so no phase of it is better than another; train for longer."
            )
    return schedules.propose(surface, primary, tokens)


def _surface(frame, primary: str, new: list[str], shares: list[float]) -> dict:
    runs = {0.0: "continual"} | {share: f"replay_{share:.4f}" for share in shares}
    views = {language: measured.view(frame, primary, language, new) for language in new}
    of_new, of_primary = (
        {name: {r: _judged(view, run, which or name) for r, run in runs.items()} for name, view in views.items()}
        for which in (None, primary)
    )
    return schedules.surface(of_new, of_primary)


def _judged(view, run: str, language: str) -> dict:
    """What schedules.py reads of a run in one language."""
    judged = measured.solved(view, run, language)
    if judged is None:
        raise UserError(f"run '{run}' was not judged in {language}; run the study again.")
    rows = measured.select(view, run=run, language=language, metric="accuracy").drop_duplicates("step")
    seen = {step: json.loads(text) for step, text in zip(rows["step"], rows["tokens_by_language"], strict=True)}
    return judged | {"tokens": np.array([seen[step].get(language, 0) for step in judged["steps"]], float)}


def predicted_shares(mixes: list[dict], primary: str) -> list[dict]:
    """The primary's share that Eq. 2 foretells from a mix's tokens, against the one measured in the from-scratch run.

    Returns: one dict a mix and new language: run, name, language, predicted (pairwise, primary / (primary + language)),
    joint (1 - the language's share of all tokens), measured (lens, intermediate layers), ci (over seeds), by_seed.
    """
    rows = []
    for mix in mixes:
        for language, measured_S in mix["primary_share"].items():
            share, of_primary = mix["shares"][language], mix["shares"][primary]
            if not share + of_primary or np.isnan(measured_S).all():
                continue
            mean, low, high = (float(value) for value in statistics.student(measured_S))
            rows.append(
                {
                    "run": mix["run"],
                    "name": mix["name"],
                    "language": language,
                    "predicted": float(algorithm1.pairwise_share(share, of_primary)),
                    "joint": 1 - share,
                    "measured": mean,
                    "ci": np.clip([low, high], 0, 1).tolist(),
                    "by_seed": measured_S,
                }
            )
    return rows
