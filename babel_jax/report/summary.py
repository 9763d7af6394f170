"""`summary.json`: the study's numbers under stable names.

Keys, null where something was not measured or has no interval; numbers have 6 digits, intervals (`ci`) are of 95 %:

| key | meaning |
|---|---|
| `primary`, `new`, `seeds` | the languages ([new ones]) and how many seeds |
| `languages.<new>.accuracy` | `start`; `peak` {step, value, ci}; `end` (last quarter) and `decline` {value, ci} from the peak |
| `….control` | the run without what is suspected: `end` {value, ci}, `stages` |
| `….stages` | steps of the stages; null: no transition seen |
| `….stages_verdict` | `verdict`, `peak` {step, step_ci}, `peak_in_end`, `rises`, `rise`, `decline` {value, ci, p}, `settles` |
| `….dependence` | `tested`, `depends` (null: undecided or not tested), `p`, `reason` |
| `….knowledge_share` | `ceiling` (of the problem set), `at_peak`, `end` |
| `….working_language` | the primary's share in the lens: `primary_share_{start,peak,end}`, `layers` |
| | `others_{start,peak,end}`: with other pairs' identifiers; `concept_share_{start,peak,end,end_ci,control_end}`: minus it |
| | `languages`: {language: its share among more than two, at the end} |
| `….transferring_neurons` | by definition: `peak`, `end`, `control_end` |
| `….patches` | accuracy per T\\S word at the end with a part put back to the peak |
| `….causes` | ablation beyond random sets: `matters`, `specific`, `crossover` {value, ci, p} |
| `….calibration` | by source and measured share: `best` link, `links` (r2, slope and errors of each) |
| `….proposals` | by source: `p_star` (null: not determined), `tokens`, `pairwise_share`, each with its interval, `decision`, … |
| `corpora` | by source: what Algorithm 1 asks for of all languages: `tokens`, `ci`, `shares`, … |
| `corpora_joint` | the same in the joint reading; null: no solution; empty with one new language |
| `….chance` | `level`: the part solved without having learned anything; `above`: whether the continual run surely solves more |
| `bar` | what a run that has learned the primary reaches: `measure`, `source`, `level` by seed; null: not known |
| `mixes` | from-scratch runs: `name`, `shares`, `score` by language and `macro` {value, ci}, `learned`, … |
| `mixes….learned` | the primary: in how many `runs` `of` all, by which `step`, `by_seed` (null: at none), `checkpoints` |
| `comparisons` | mixes with the original: `first`, `second`, `score`, `value`, `ci`, `p`, `p_holm`, … |
| `comparisons….tested` | whether every run of both had learned the primary: without that it compares no corpora |
| `predictions` | by mix, that it was written before its runs were trained: `written`, `sha256`, `config_sha256` |
| `laws` | the fitted law: `chosen`, on how many `mixes` and `runs`, `shares` and `ci` of its best mix, held-out errors |
| `loss_laws` | by rival, the law of the losses: on how many `mixes` and `runs`, `shares` of its best mix, held-out errors |
| `curve_laws` | by new language, the curve as a law: `run`, `mixes`, `runs`, `order`, `distance`, held-out errors, … |
| `schedules` | the proposed schedule: `stages`, `replay`, `phase_tokens`, `predicted`, intervals |
| `predicted` | the primary's share in from-scratch runs: `predicted` (Eq. 2), `measured`, `ci` |
| `costs` | search costs: `what`, `flops`, `runs`, `final_runs` |
| `tasks` | by task: in `languages.<new>` its `start`, `peak` (of writing), `end`, `control_end`; in `mixes` by name {value, ci} |
| `verdicts` | every claim: `name`, `claim`, `verdict`, `number`, `sentence`, `language` |
| `missing` | what the study lacks, in sentences |
| `wall_seconds`, `versions` | seconds by phase; versions of libraries |

Where the peak lies in the last quarter (`peak_in_end`), the decline is from the best checkpoint before it.
"""

import dataclasses
import itertools

from babel_jax.common.statistics import Estimate
from babel_jax.evolution.mixes import MACRO, Mix
from babel_jax.evolution.stages import Stages
from babel_jax.evolution.tasks import WRITING
from babel_jax.optimum.calibration import Calibration
from babel_jax.optimum.compare import Comparison
from babel_jax.optimum.curve_law import CurveLaw
from babel_jax.optimum.laws import Law
from babel_jax.optimum.loss_laws import LossLaw
from babel_jax.report.course import Course, course
from babel_jax.report.plain import plain
from babel_jax.study.findings import Findings, LanguageFindings
from babel_jax.study.verdicts import Verdict

DIGITS = 6
STAGES = ("verdict", "rises", "rise", "decline", "settles", "peak_in_end")
DEPENDENCE = ("tested", "depends", "p", "reason")
PROPOSAL = (
    "p_star", "p_star_ci", "calibrated", "best_step", "best_tokens", "tokens", "tokens_ci", "pairwise_share",
    "share_ci", "slope", "out_of_range", "decision", "reason",
)  # fmt: skip
COMPARISON = ("kind", "first", "second", "score", "value", "ci", "p", "p_holm", "n")
PREDICTED = ("run", "language", "predicted", "measured", "ci")
LINK = ("r2", "slope", "mean_error", "largest_error", "loo_error", "loo_r2", "parameters")
NEURONS = ("lape_target", "pair_shared", "functional")
PATCHES = ("embeddings", "blocks", "ffn")


def summary(findings: Findings, verdicts: list[Verdict]) -> dict:
    """The content of summary.json."""
    study = findings.study
    content = {
        "primary": study.primary,
        "new": list(findings.languages),
        "seeds": len(study.seeds),
        "languages": {name: _language(here) for name, here in findings.languages.items()},
        "corpora": findings.corpora,
        "corpora_joint": findings.corpora_joint,
        "bar": findings.bar,
        "mixes": [_mix(mix) for mix in findings.mixes],
        "comparisons": [_comparison(findings, each) for each in findings.comparisons],
        "predictions": findings.predictions,
        "laws": findings.laws and _law(findings.laws),
        "loss_laws": {name: _loss_law(law) for name, law in findings.loss_laws.items()},
        "curve_laws": {language: _curve_law(law) for language, law in findings.curve_laws.items()},
        "schedules": findings.schedules and findings.schedules.proposal,
        "predicted": [_some(each, PREDICTED) for each in findings.predicted],
        "costs": findings.costs,
        "tasks": _tasks(findings),
        "missing": findings.missing,
        "verdicts": verdicts,
        "wall_seconds": study.wall_seconds,
        "versions": study.versions,
    }
    return _without_bounds(plain(content, DIGITS))


def _language(here: LanguageFindings) -> dict:
    curves, continual, control = here.curves, here.stages, here.control
    step, share = curves.peak_step, curves.knowledge.get("continual")
    known = course(share, step)
    return {
        "accuracy": {
            "start": course(curves.accuracy.get(("continual", curves.new, "all")), step).start,
            "peak": {"step": step, **_with_ci(continual and continual.peak)},
            "end": _with_ci(continual and continual.plateau),
            "decline": _with_ci(continual and continual.decline),
        },
        "chance": {"level": curves.chance, "above": curves.above_chance},
        "control": {"end": _with_ci(control and control.plateau), "stages": control and control.stages},
        "stages": continual and continual.stages,
        "stages_verdict": continual and _stages(continual),
        "dependence": here.dependence and _some(here.dependence, DEPENDENCE),
        "knowledge_share": {"ceiling": share and share.ceiling, "at_peak": known.peak, "end": known.end},
        "working_language": _working_language(here),
        "transferring_neurons": {definition: _neurons(here, definition) for definition in NEURONS},
        "patches": {part: curves.patches[part].last().value if part in curves.patches else None for part in PATCHES},
        "causes": here.causes and here.causes.verdict,
        "calibration": {
            source: {name: _calibration(fit) for name, fit in fits.items()} for source, fits in here.calibration.items()
        },
        "proposals": {source: _some(proposal, PROPOSAL) for source, proposal in here.proposals.items()},
    }


def _calibration(fit: Calibration) -> dict:
    return {"best": fit.best, "links": {name: _some(link, LINK) for name, link in fit.links.items()}}


def _stages(run: Stages) -> dict:
    return _some(run, STAGES) | {"peak": _some(run.peak, ("step", "step_ci"))}


def _working_language(here: LanguageFindings) -> dict:
    curves, step = here.curves, here.curves.peak_step
    lens = [curves.lens.get((run, "primary_share_pair"), []) for run in ("continual", "control")]
    layers = []
    for layer, (continual, control) in enumerate(itertools.zip_longest(*lens)):
        share = _primary_share(course(continual, step))
        layers.append({"layer": layer + 1, **share, "control_end": course(control, step).end})
    share, others, concept = (
        course(of.get("continual"), step)
        for of in (curves.working_language, curves.beside_others, curves.concept_share)
    )
    end = curves.concept_share["continual"].end() if "continual" in curves.concept_share else None
    return (
        _primary_share(share)
        | _of_course("others", others)
        | _of_course("concept_share", concept)
        | {
            "concept_share_end_ci": end and end.ci,
            "concept_share_control_end": course(curves.concept_share.get("control"), step).end,
            "languages": {
                language: course(curves.language_shares.get(("continual", language)), step).end
                for language in curves.languages_read
            }
            or None,
            "layers": layers,
        }
    )


def _primary_share(share: Course) -> dict:
    return _of_course("primary_share", share)


def _of_course(name: str, of: Course) -> dict:
    return {f"{name}_{at}": value for at, value in dataclasses.asdict(of).items()}


def _neurons(here: LanguageFindings, definition: str) -> dict:
    continual, control = (
        course(here.curves.neurons.get((run, definition)), here.curves.peak_step) for run in ("continual", "control")
    )
    return {"peak": continual.peak, "end": continual.end, "control_end": control.end}


def _tasks(findings: Findings) -> dict:
    scores, asked = findings.tasks, (WRITING, *findings.tasks.asked)

    def of(language: str, here: LanguageFindings, task: str) -> dict:
        continual, control = (
            course(scores.curves.get((language, run, task, "all")), here.curves.peak_step)
            for run in ("continual", "control")
        )
        return dataclasses.asdict(continual) | {"control_end": control.end}

    return {
        "languages": {
            name: {task: of(name, here, task) for task in asked} for name, here in findings.languages.items()
        },
        "mixes": {
            mix.name: {
                task: _with_ci(score.estimate) for task in asked if (score := scores.mixes.get((mix.name, task, "all")))
            }
            for mix in findings.mixes
        },
    }


def _mix(mix: Mix) -> dict:
    return _some(mix, ("run", "name", "shares", "tokens", "steps", "stages")) | {
        "score": {language: _with_ci(mix.estimate(language)) for language in mix.score},
        "macro": _with_ci(mix.estimate(MACRO)),
        "learned": _learned(mix),
    }


def _learned(mix: Mix) -> dict:
    learning = mix.learning
    return {
        "runs": int(mix.learned_primary_S.sum()),
        "of": len(mix.seeds),
        "step": _with_ci(learning and learning.soon),
        "by_seed": learning and dict(zip(learning.seeds, learning.first_S.tolist(), strict=True)),
        "checkpoints": learning and learning.steps,
    }


def _comparison(findings: Findings, pair: Comparison) -> dict:
    mixes = [findings.mix_named(name) for name in (pair.first, pair.second)]
    return _some(pair, COMPARISON) | {"tested": findings.unlearned(mixes)[0] == 0}


def _law(law: Law) -> dict:
    best, held_out = law.fitted.best, law.fitted.loo
    shown = _some(best, ("shares", "ci", "predicted", "gain")) | _some(held_out, ("macro_rmse", "baseline_rmse"))
    return {"chosen": law.chosen, "mixes": len(law.fitted.names), "runs": law.fitted.runs} | shown


def _loss_law(law: LossLaw) -> dict:
    return {"mixes": len(law.names), "runs": law.runs} | _some(law, ("shares", "held_out_rmse", "baseline_rmse"))


def _curve_law(law: CurveLaw) -> dict:
    shown = _some(law, ("runs", "chosen", "rmse", "baseline_rmse", "beyond"))
    about = {"run": law.curve.run, "mixes": len(law.names)}
    return about | {"order": _with_ci(law.order), "distance": _with_ci(law.distance)} | shown


def _some(record, names) -> dict:
    """Some attributes of a record."""
    return {name: getattr(record, name) for name in names}


def _with_ci(point: Estimate | None) -> dict:
    return {"value": None, "ci": None} if point is None else {"value": point.value, "ci": point.ci}


def _without_bounds(thing):
    """An interval of which neither bound is known becomes null."""
    if isinstance(thing, dict):
        return {key: _without_bounds(entry) for key, entry in thing.items()}
    if isinstance(thing, list):
        return None if thing and all(entry is None for entry in thing) else [_without_bounds(entry) for entry in thing]
    return thing
