"""`summary.json`: the study's numbers under stable names, and the compact table of them for the terminal.

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
| `….transferring_neurons` | by definition: `peak`, `end`, `control_end` |
| `….patches` | accuracy per T\\S word at the end with a part put back to the peak |
| `….causes` | ablation beyond random sets: `matters`, `specific`, `crossover` {value, ci, p} |
| `….calibration` | by source and measured share: `best` link, `links` (r2, slope and errors of each) |
| `….proposals` | by source: `p_star` (null: not determined), `tokens`, `pairwise_share`, each with its interval, `decision`, … |
| `corpora` | by source: what Algorithm 1 asks for of all languages: `tokens`, `ci`, `shares`, … |
| `corpora_joint` | the same in the joint reading; null: no solution; empty with one new language |
| `mixes` | from-scratch runs: `name`, `shares`, `score` by language and `macro` {value, ci}, … |
| `comparisons` | mixes with the original: `first`, `second`, `score`, `value`, `ci`, `p`, `p_holm` |
| `laws` | the fitted law: `chosen`, `shares` and `ci` of its best mix, held-out errors |
| `schedules` | the proposed schedule: `stages`, `replay`, `phase_tokens`, `predicted`, intervals |
| `predicted` | the primary's share in from-scratch runs: `predicted` (Eq. 2), `measured`, `ci` |
| `costs` | search costs: `what`, `flops`, `runs`, `final_runs` |
| `verdicts` | every claim: `name`, `claim`, `verdict`, `number`, `sentence`, `language` |
| `missing` | what the study lacks, in sentences |
| `wall_seconds`, `versions` | seconds by phase; versions of libraries |

Where the peak lies in the last quarter (`peak_in_end`), the decline is from the best checkpoint before it.
"""

import dataclasses
import itertools
import math

import numpy as np

from babel_jax import statistics
from babel_jax.evolution import measured
from babel_jax.report import words
from babel_jax.report.words import SOURCE_NAMES, language_name, mix_title, names
from babel_jax.report.words import seeds as count_seeds

PROPOSAL_KEYS = (
    "p_star", "p_star_ci", "calibrated", "best_step", "best_tokens", "tokens", "tokens_ci", "pairwise_share",
    "share_ci", "slope", "out_of_range", "decision", "reason",
)  # fmt: skip


def summary(findings: dict, verdicts: list[dict]) -> dict:
    """The content of summary.json. Args: as `findings.of_study` and `verdicts.verdicts` return them."""
    study = findings["study"]
    return _json(
        {
            "primary": study["primary"],
            "new": list(findings["languages"]),
            "seeds": len(study["seeds"]),
            "languages": {name: of_language(name, here) for name, here in findings["languages"].items()},
            "corpora": findings["corpora"],
            "corpora_joint": findings["corpora_joint"],
            "mixes": [_mix(mix) for mix in findings["mixes"]],
            "comparisons": [
                {key: found.get(key) for key in ("kind", "first", "second", "score", "value", "ci", "p", "p_holm", "n")}
                for found in findings["comparisons"]
            ],
            "laws": _law(findings["laws"]),
            "schedules": findings["schedules"] and findings["schedules"]["proposal"],
            "predicted": [
                {key: row[key] for key in ("run", "language", "predicted", "measured", "ci")}
                for row in findings["predicted"]
            ],
            "costs": findings["costs"],
            "missing": findings["missing"],
            "verdicts": verdicts,
            "wall_seconds": study.get("wall_seconds", {}),
            "versions": study.get("versions", {}),
        }
    )


def of_language(new: str, here: dict) -> dict:
    curves, found, control, depends = here["curves"], here["stages"], here["control"], here["dependence"]
    step = curves["decline"] and curves["decline"]["peak_step"]
    accuracy = curves["accuracy"].get(("continual", new, "all"))
    share = curves["knowledge"].get("continual")
    pair = curves["lens"].get(("continual", "primary_share_pair"), [])
    control_pair = curves["lens"].get(("control", "primary_share_pair"), [])
    working = measured.working_language(pair)
    return {
        "accuracy": {
            "start": first(accuracy),
            "peak": {"step": step, **with_ci(found and found["peak"])},
            "end": with_ci(found and found["plateau"]),
            "decline": with_ci(found and found["decline"]),
        },
        "control": {"end": with_ci(control and control["plateau"]), "stages": control and control["stages"]},
        "stages": found and found["stages"],
        "stages_verdict": found
        and {key: found[key] for key in ("verdict", "rises", "rise", "decline", "settles", "peak_in_end")}
        | {"peak": {key: found["peak"][key] for key in ("step", "step_ci")}},
        "dependence": depends and {key: depends[key] for key in ("tested", "depends", "p", "reason")},
        "knowledge_share": {
            "ceiling": share and share["ceiling"],
            "at_peak": value(measured.at(share, step)),
            "end": value(measured.end(share)),
        },
        "working_language": {
            "primary_share_start": first(working),
            "primary_share_peak": value(measured.at(working, step)),
            "primary_share_end": value(measured.end(working)),
            "layers": [
                {
                    "layer": layer + 1,
                    "primary_share_start": first(inside),
                    "primary_share_peak": value(measured.at(inside, step)),
                    "primary_share_end": value(measured.end(inside)),
                    "control_end": value(measured.end(beside)),
                }
                for layer, (inside, beside) in enumerate(itertools.zip_longest(pair, control_pair))
            ],
        },
        "transferring_neurons": {
            definition: {
                "peak": value(measured.at(curves["neurons"].get(("continual", definition)), step)),
                "end": value(measured.end(curves["neurons"].get(("continual", definition)))),
                "control_end": value(measured.end(curves["neurons"].get(("control", definition)))),
            }
            for definition in ("lape_target", "pair_shared", "functional")
        },
        "patches": {
            part: value(measured.last(curves["patches"].get(part))) for part in ("embeddings", "blocks", "ffn")
        },
        "causes": here["causes"] and here["causes"]["verdict"],
        "calibration": {
            source: {name: {"best": fit["best"], "links": fit["links"]} for name, fit in fits.items()}
            for source, fits in here["calibration"].items()
        },
        "proposals": {
            source: {key: found[key] for key in PROPOSAL_KEYS} for source, found in here["proposals"].items()
        },
    }  # fmt: skip


def first(curve: dict | None) -> float | None:
    return None if curve is None else value(measured.at(curve, curve["steps"][0]))


def value(point: dict | None) -> float | None:
    return None if point is None else point["value"]


def with_ci(point: dict | None) -> dict:
    return {"value": None, "ci": None} if not point else {"value": point["value"], "ci": point["ci"]}


def _over_seeds(score_S) -> dict:
    mean, low, high = statistics.student(score_S)
    return {"value": float(mean), "ci": [float(low), float(high)]}


def _mix(mix: dict) -> dict:
    return {key: mix[key] for key in ("run", "name", "shares", "tokens", "steps")} | {
        "stages": mix["stages"],
        "score": {language: _over_seeds(score_S) for language, score_S in mix["score"].items()},
        "macro": _over_seeds(mix["macro"]),
    }


def _law(found: dict | None) -> dict | None:
    if not found:
        return None
    fitted = found["kinds"][found["chosen"]]
    best = {key: fitted["best"][key] for key in ("shares", "ci", "predicted", "gain")}
    return {"chosen": found["chosen"], **best} | {key: fitted["loo"][key] for key in ("macro_rmse", "baseline_rmse")}


def _json(thing):
    """Numbers rounded to 6 digits; what is no finite number becomes null, and so does an interval without bounds."""
    if dataclasses.is_dataclass(thing):
        return _json(vars(thing))
    if isinstance(thing, dict):
        return {str(key): _json(entry) for key, entry in thing.items()}
    if isinstance(thing, np.ndarray):
        return _json(thing.tolist())
    if isinstance(thing, list | tuple):
        entries = [_json(entry) for entry in thing]
        return None if entries and all(entry is None for entry in entries) else entries
    if isinstance(thing, bool | np.bool_):
        return bool(thing)
    if isinstance(thing, np.integer):
        return int(thing)
    if isinstance(thing, float | np.floating):
        return round(float(thing), 6) if math.isfinite(thing) else None
    return thing


# --- for the terminal -----------------------------------------------------------------------------------------------


def terminal_table(summary: dict) -> str:
    """The study's main numbers as a table of at most 80 columns: each new language, then the from-scratch mixes."""
    title = f"{language_name(summary['primary'])} to {names(summary['new'])}, {count_seeds(summary['seeds'])}"
    blocks = [[title[:80], "-" * 78]]
    for name, here in summary["languages"].items():
        heading = [f"{language_name(name)}"] if len(summary["languages"]) > 1 else []
        blocks.append(heading + [_line(*line) for line in _language_lines(here)])
    if summary["mixes"]:
        blocks.append(_mix_lines(summary))
    return "\n".join(line for block in blocks for line in block)


def _line(name: str, numbers: str, note: str = "") -> str:
    return f"{name:<37.37} {numbers:<21} {note or ''}".rstrip()[:80]


def _language_lines(here: dict) -> list[tuple]:
    accuracy, control, share = here["accuracy"], here["control"], here["knowledge_share"]
    working, functional = here["working_language"], here["transferring_neurons"]["functional"]
    found, depends = here["stages_verdict"], here["dependence"]
    late = found is not None and found["peak_in_end"]
    seen = "not measured" if found is None else found["verdict"]
    if here["stages"]:
        seen += f" in steps {here['stages']['transition'][0]}-{here['stages']['transition'][1]}"
    elif found:
        seen += ", no transition seen" * (seen != "undecided")
    test = words.depends(depends) or "not tested"
    lens = [working[f"primary_share_{at}"] for at in ("start", "peak", "end")]
    return [
        (
            "accuracy: start, peak, end",
            _join(accuracy["start"], accuracy["peak"]["value"], accuracy["end"]["value"]),
            _ci(accuracy["end"]["ci"]),
        ),
        (
            f"decline from {'an earlier checkpoint' if late else 'the peak'}",
            _number(accuracy["decline"]["value"]),
            _ci(accuracy["decline"]["ci"]),
        ),
        ("stages", seen),
        ("control: end", _number(control["end"]["value"]), _ci(control["end"]["ci"])),
        ("depends on the primary", test, f"p {_number(depends['p'])}" if depends else ""),
        ("knowledge share: peak, end", _join(share["at_peak"], share["end"]), f"ceiling {_number(share['ceiling'])}"),
        ("working language: start, peak, end", _join(*lens), "the primary's share"),
        (
            "functional neurons: peak, end",
            _join(functional["peak"], functional["end"], digits=0),
            f"control {_number(functional['control_end'], 0)}",
        ),
        *(
            (
                f"P* from {SOURCE_NAMES.get(source, source)}",
                "not determined" if found["p_star"] is None else _number(found["p_star"]),
                _ci(found["p_star_ci"]),
            )
            for source, found in here["proposals"].items()
        ),
    ]


def _mix_lines(summary: dict) -> list[str]:
    """The mixes by score, the best ones and Algorithm 1's; the score is the new language's, or the mean of several."""
    alone = summary["new"][0] if len(summary["new"]) == 1 else None
    shown = [mix for mix in summary["mixes"] if not mix["name"].startswith("swarm")]  # those have one seed each
    shown.sort(key=lambda mix: -(mix["score"][alone] if alone else mix["macro"])["value"])
    kept = [mix for place, mix in enumerate(shown) if place < 3 or mix["name"].startswith(("algorithm1", "schedule"))]
    score = f"{language_name(alone)} accuracy" if alone else "mean accuracy"
    lines = [f"{'from scratch':<37} {score:<14} minus the original mix"]
    for mix in kept:
        score = mix["score"][alone] if alone else mix["macro"]
        pair = next(
            (
                found
                for found in summary["comparisons"]
                if found["kind"] == "mix" and found["second"] == mix["name"] and found["score"] == (alone or "macro")
            ),
            None,
        )
        difference = f"{pair['value']:+.3f} {_ci(pair['ci'])}" if pair else ""
        title = mix_title(mix["name"]).replace("\N{NO-BREAK SPACE}", " ")
        lines.append(f"  {title:<35.35} {_number(score['value']):<14} {difference}".rstrip())
    return lines


def _number(number, digits: int = 3) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def _join(*numbers, digits: int = 3) -> str:
    return "  ".join(_number(number, digits) for number in numbers)


def _ci(ci) -> str:
    return "" if not ci or None in ci else f"[{ci[0]:.3f}, {ci[1]:.3f}]"
