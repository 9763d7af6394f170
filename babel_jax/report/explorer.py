"""What the page's explorer shows: its controls, and the findings that its script (explorer.js) reads as JSON."""

import dataclasses
import math

import numpy as np

from babel_jax.evolution import measured
from babel_jax.report import lookups, words

METRICS = {  # name -> (title, unit)
    "accuracy": ("Accuracy", "%"),
    "accuracy_shared": ("Accuracy on S", "%"),
    "accuracy_transfer": ("Accuracy on T\\S", "%"),
    "knowledge_share": ("Knowledge share", "%"),
    "working_language": ("Working language: the primary’s share", "%"),
    "functional": ("Functional neurons", ""),
    "lape_target": ("LAPE neurons", ""),
    "loss": ("Held-out loss, nats per token", ""),
    "loss_knowledge": ("Loss on knowledge-bearing tokens", ""),
    "primary_accuracy": ("Accuracy in the primary language", "%"),
}
RUNS = {"continual": "continual", "control": "control"}
BODY = """
<noscript><p>The explorer needs JavaScript; every figure of this page and its data can be seen without.</p></noscript>
<p>Move through the checkpoints of continual pre-training; all that follows moves along. Arrow keys work too.</p>
<div class="scrub"><label for="step">Checkpoint<input type="range" id="step" min="0" max="0" value="0" step="1">
<output for="step" id="step-shown"></output></label><div class="chart" id="trace"></div></div>
<div class="tool" id="lens-tool"><h3>What each layer would write</h3>
<p class="quiet">The logit lens at the places of a prompt where a built-in’s name must come. The left map names the token
that each layer ranks first; choose a place in it. The right one gives the probabilities of all tokens that are ranked first
at any layer or checkpoint.</p>
<div class="controls"><label for="prompt">Prompt<select id="prompt"></select></label></div>
<div class="prompt" id="prompt-text"></div>
<div class="legend" id="lens-legend"></div>
<div class="pair"><div class="chart heat" id="lens"></div><div class="chart" id="defaults"></div></div>
<p class="reading" id="lens-reading" role="status"></p></div>
<div class="tool" id="drift-tool"><h3>Neurons come and go</h3>
<p class="quiet">Neurons that enter (up) and leave (down) the set since the checkpoint before; beside it, the layers that the set
lies in at the chosen checkpoint.</p>
<div class="controls"><label for="definition">Set<select id="definition"></select></label></div>
<div class="pair"><div class="chart" id="flow"></div><div class="chart" id="layers"></div></div>
<p class="reading" id="drift-reading" role="status"></p></div>
<div class="tool" id="sweep-tool"><h3>Mixes, and the predicted optimum</h3>
<p class="quiet">Every from-scratch mix of equal length by its token share of new languages; small dots are seeds, diamonds
are schedules or mixes that change during training. Lines mark what is proposed. Hover a mix, or step through them with Tab.</p>
<div class="controls"><label for="score">Score<select id="score"></select></label></div>
<div class="chart" id="sweep"></div><p class="reading" id="sweep-reading" role="status"></p></div>
<div class="tool" id="compare-tool"><h3>Compare two runs</h3>
<div class="controls"><label for="metric">Measure<select id="metric"></select></label>
<label for="first">First<select id="first"></select></label>
<label for="second">Second<select id="second"></select></label></div>
<div class="chart" id="compare"></div><p class="reading" id="compare-reading" role="status"></p></div>
"""


def data(findings: dict) -> dict:
    """The findings that the explorer shows, as JSON can hold them: 4 digits, null for NaN."""
    primary, long = findings["study"]["primary"], lookups.equally_long(findings)
    return _json(
        {
            "primary": words.language_name(primary),
            "metrics": METRICS,
            "languages": {
                language: {
                    "title": words.language_name(language),
                    "stages": here["curves"]["stages"],
                    "runs": {run: _series(here["curves"], primary, language, run) for run in RUNS},
                    "lens": here["lens_grid"],
                    "drift": _drift(here["drift"]),
                }
                for language, here in findings["languages"].items()
            },
            "mixes": [
                {
                    "run": mix["run"], "title": words.mix_title(mix["name"]), "seeds": mix["seeds"],
                    "share": lookups.new_share(findings, mix), "staged": not lookups.is_static(mix),
                    "ranked": any(mix is other for other in long),
                    "scores": {"macro": mix["macro"], **mix["score"]},
                }
                for mix in findings["mixes"]
            ],
            "score_titles": {"macro": "Mean accuracy of all languages", primary: f"{words.language_name(primary)} accuracy"}
            | {language: f"{words.language_name(language)} accuracy" for language in findings["languages"]},
            "marks": _marks(findings),
        }
    )  # fmt: skip


def _series(curves: dict, primary: str, new: str, run: str) -> dict:
    """{metric: {"steps", "mean", "low", "high"}} of one run."""
    accuracy = curves["accuracy"]
    found = {
        "accuracy": accuracy.get((run, new, "all")),
        "accuracy_shared": accuracy.get((run, new, "shared")),
        "accuracy_transfer": accuracy.get((run, new, "transfer")),
        "primary_accuracy": accuracy.get((run, primary, "all")),
        "knowledge_share": curves["knowledge"].get(run),
        "working_language": measured.working_language(curves["lens"].get((run, "primary_share_pair"), [])),
        "functional": curves["neurons"].get((run, "functional")),
        "lape_target": curves["neurons"].get((run, "lape_target")),
        "loss": curves["loss"].get((run, new, "loss")),
        "loss_knowledge": curves["loss"].get((run, new, "loss_knowledge")),
    }
    return {
        metric: {name: curve[name] for name in ("steps", "mean", "low", "high")}
        for metric, curve in found.items()
        if curve is not None and len(curve["steps"]) > 0
    }


def _drift(found: dict | None) -> list[dict]:
    """Each set of neurons that was followed, with its births and deaths by checkpoint and layer."""
    followed = [] if found is None else [found, *found["others"]]
    return [
        {"title": f"{METRICS[one['definition']][0]}, {one['run']}"}
        | {name: one[name] for name in ("steps", "layers", "births_CxL", "deaths_CxL", "size_CxL")}
        for one in followed
    ]


def _marks(findings: dict) -> list[dict]:
    """The shares of new languages that are proposed, and the original one."""
    marks = []
    for source, share, interval in lookups.asked(findings):
        low, high = interval or (None, None)
        title = f"asked from {words.SOURCE_NAMES.get(source, source)}"
        marks.append({"title": title, "share": share, "low": low, "high": high})
    original = findings["study"].get("original_share")
    return marks + ([] if original is None else [{"title": "original", "share": original, "original": True}])


def _json(thing):
    if dataclasses.is_dataclass(thing):
        return _json(vars(thing))
    if isinstance(thing, dict):
        return {str(key): _json(entry) for key, entry in thing.items()}
    if isinstance(thing, np.ndarray):
        return _json(thing.tolist())
    if isinstance(thing, list | tuple):
        return [_json(entry) for entry in thing]
    if isinstance(thing, float | np.floating):
        return round(float(thing), 4) if math.isfinite(thing) else None
    return int(thing) if isinstance(thing, np.integer) else thing
