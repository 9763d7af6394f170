"""What the page's explorer shows: its controls, and the findings that its script (explorer.js) reads as JSON."""

from babel_jax.evolution.continual import Curves
from babel_jax.evolution.mechanism import Drift
from babel_jax.evolution.mixes import MACRO
from babel_jax.report.plain import plain
from babel_jax.study import words
from babel_jax.study.findings import Findings, LanguageFindings

DIGITS = 4
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
RUNS = ("continual", "control")
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


def data(findings: Findings) -> dict:
    """The findings that the explorer shows, as JSON can hold them: 4 digits, null for NaN."""
    primary = words.language_name(findings.study.primary)
    titles = {findings.study.primary: primary} | {name: words.language_name(name) for name in findings.languages}
    return plain(
        {
            "primary": primary,
            "metrics": METRICS,
            "languages": {name: _language(here) for name, here in findings.languages.items()},
            "mixes": _mixes(findings),
            "score_titles": {MACRO: "Mean accuracy of all languages"}
            | {name: f"{title} accuracy" for name, title in titles.items()},
            "marks": _marks(findings),
        },
        DIGITS,
    )


def _language(here: LanguageFindings) -> dict:
    return {
        "title": words.language_name(here.curves.new),
        "stages": here.curves.stages,
        "runs": {run: _series(here.curves, run) for run in RUNS},
        "lens": here.lens_grid,
        "drift": [_drift(one) for one in (here.drift, *here.drift.others)] if here.drift else [],
    }


def _series(curves: Curves, run: str) -> dict:
    """{metric: {"steps", "mean", "low", "high"}} of one run."""
    accuracy, new = curves.accuracy, curves.new
    curve_of = {
        "accuracy": accuracy.get((run, new, "all")),
        "accuracy_shared": accuracy.get((run, new, "shared")),
        "accuracy_transfer": accuracy.get((run, new, "transfer")),
        "primary_accuracy": accuracy.get((run, curves.primary, "all")),
        "knowledge_share": curves.knowledge.get(run),
        "working_language": curves.working_language.get(run),
        "functional": curves.neurons.get((run, "functional")),
        "lape_target": curves.neurons.get((run, "lape_target")),
        "loss": curves.loss.get((run, new, "loss")),
        "loss_knowledge": curves.loss.get((run, new, "loss_knowledge")),
    }
    return {
        metric: {name: getattr(curve, name) for name in ("steps", "mean", "low", "high")}
        for metric, curve in curve_of.items()
        if curve is not None
    }


def _drift(followed: Drift) -> dict:
    """A set of neurons that was followed, with its births and deaths by checkpoint and layer."""
    shown = ("steps", "layers", "births_CxL", "deaths_CxL", "size_CxL")
    return {"title": f"{METRICS[followed.definition][0]}, {followed.run}"} | {
        name: getattr(followed, name) for name in shown
    }


def _mixes(findings: Findings) -> list[dict]:
    long = {mix.name for mix in findings.equally_long}
    return [
        {
            "run": mix.run,
            "title": words.mix_title(mix.name),
            "seeds": mix.seeds,
            "share": findings.new_share(mix),
            "staged": not mix.is_static,
            "ranked": mix.name in long,
            "scores": {MACRO: mix.macro, **mix.score},
        }
        for mix in findings.mixes
    ]


def _marks(findings: Findings) -> list[dict]:
    """The shares of new languages that are proposed, and the original one."""
    marks = []
    for mark in findings.asked:
        low, high = mark.ci or (None, None)
        title = f"asked from {words.source_name(mark.source)}"
        marks.append({"title": title, "share": mark.share, "low": low, "high": high})
    return [*marks, {"title": "original", "share": findings.study.original_share, "original": True}]
