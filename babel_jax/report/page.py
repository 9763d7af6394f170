"""`index.html`: one self-contained page whose sentences are chosen by the data, not by the hypothesis."""

import html
from pathlib import Path

import matplotlib
import numpy as np

from babel_jax import evolution, files, measurements
from babel_jax.evolution import measured, stages, statistics
from babel_jax.optimum import algorithm1
from babel_jax.report import figures
from babel_jax.report.summary import summary

SUPPORTED, REFUTED, OPEN, MISSING = "supported", "not supported", "undecided", "not measured"
CALIBRATED = 0.1  # mean error up to which P(l) counts as following a measured share
NEAR_BEST = 0.02  # a proposal surely this near to the best mix counts as a hit
UNTESTED = (
    "The best checkpoint is the first or the last one, where Eq. 1 gives 1 or 0 by construction: "
    "this is no test of Algorithm 1."
)
NBSP = "\N{NO-BREAK SPACE}"


def build(study_dir):
    """Writes report/{summary.json, index.html, story.png, figures/*.svg, figures/*.csv} of a study from its rows.

    The same rows give the same bytes (apart from the study's own times). Returns the path of index.html.

    Raises:
      UserError: no study there, no measurements, or the continual run was not evaluated.
    """
    study_dir = files.path(study_dir)
    study = files.read_json(study_dir / "study.json")
    frame = measurements.read(study_dir)
    curves, proposals = analyse(study, frame)
    report = study_dir / "report"
    result = summary(study, curves, proposals)
    files.write_json(report / "summary.json", result)
    drawn = {}
    with matplotlib.rc_context(figures.STYLE):
        for name, _, _ in SECTIONS:
            made = getattr(figures, name)(curves, proposals, study)
            if made is not None:
                figure, table = made
                drawn[name] = figures.svg(figure, name)
                files.write_atomic(report / "figures" / f"{name}.svg", drawn[name])
                files.write_atomic(report / "figures" / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        picture = figures.story(curves, proposals, study)
        files.write_atomic(report / "story.png", figures.png(picture[0]))
    index = report / "index.html"
    files.write_atomic(index, _page(study, curves, proposals, result, drawn))
    return index


def analyse(study: dict, frame) -> tuple[dict, dict]:
    """Everything that the report shows, computed where it belongs: the curves and Algorithm 1's proposals."""
    primary, new = study["primary"], study["new"]
    curves = evolution.curves(frame, primary, new)
    proposals = algorithm1.proposals(frame, primary, new)
    curves["primary_share"] = {
        metric: algorithm1.share_curve(frame, new, metric) for metric in ("loss", "loss_knowledge")
    }
    curves["measured_shares"] = algorithm1.measured_shares(curves)
    return curves, proposals


# --- verdicts: (claim, verdict, number, sentence) -------------------------------------------------------------------


def verdicts(study: dict, curves: dict, proposals: dict) -> dict[str, tuple[str, str, str, str]]:
    """What the data say to each claim: name -> (claim, verdict, its main number, the sentence with all numbers)."""
    return {
        "transition": _transition(curves),
        "control": _control(curves),
        "knowledge": _knowledge(curves),
        "patches": _patches(curves),
        "working_language": _working_language(curves),
        "functional": _functional(curves),
        "lape": _lape(curves),
        "calibration": _calibration(curves),
        "optimum": _optimum(curves, proposals),
        "original": _original(study, curves, proposals),
    }


def _by_sign(ci) -> str:
    """A claim that a difference is above 0, judged by its interval."""
    return SUPPORTED if ci[0] > 0 else REFUTED if ci[1] < 0 else OPEN  # NaN bounds leave it open


def _transition(curves: dict) -> tuple[str, str, str, str]:
    claim, decline, found = "Accuracy rises, then declines", curves["decline"], curves["stages"]
    number = f"declines by {_points(decline)}"
    by_seed = [one for one in curves["stages_by_seed"].values() if one is not None]
    sentence = f"From the peak at step {decline['peak_step']:,} to the end, accuracy in the new language {number}"
    if len(curves["seeds"]) > 1:
        peaks = ", ".join(format(one["transition"][0], ",") for one in by_seed)
        sentence += f"; a transition is seen in {len(by_seed)} of {len(curves['stages_by_seed'])} seeds taken alone"
        sentence += f" (peaks at step {peaks})" if peaks else ""
    if found is None:
        return claim, REFUTED, number, f"No transition seen. {sentence}; it rises by {_points(decline['rise'])} before."
    settled = found["stabilisation"]
    return (
        claim,
        SUPPORTED,
        number,
        f"{sentence}. "
        + (f"It settles from step {settled[0]:,} on." if settled else "It has not settled by the last step."),
    )


def _control(curves: dict) -> tuple[str, str, str, str]:
    claim, decline = "The control does not decline", curves["control_decline"]
    if decline is None:
        return claim, MISSING, "", "This study has no control run."
    number = f"declines by {_points(decline)}"
    sentence = f"The control {number} and ends at {_percent(decline['end_level'])}"
    if curves["control_stages"] is not None:
        return (
            claim,
            REFUTED,
            number,
            f"{sentence}. It declines too, so the decline is not owed to what the control leaves out.",
        )
    return claim, SUPPORTED, number, f"{sentence}; no transition seen."


def _knowledge(curves: dict) -> tuple[str, str, str, str]:
    claim, share = "The knowledge share falls after the peak", curves["knowledge"].get("continual")
    if share is None:
        return claim, MISSING, "", "The knowledge share needs the same problems in both languages."
    step = curves["decline"]["peak_step"]
    change, control = measured.change(share, step), measured.end(curves["knowledge"].get("control"))
    number = f"{_percent(measured.at(share, step)['value'])} to {_percent(measured.end(share)['value'])}"
    sentence = f"The knowledge share goes from {number} (peak to end), a change of {_points(change, '+')}"
    if control is not None:
        sentence += f"; in the control it ends at {_percent(control['value'])}"
    falls = _by_sign([-change["ci"][1], -change["ci"][0]])
    return claim, falls, number, f"{sentence}. Its ceiling, {_percent(share['ceiling'])}, is set by the problem set."


def _patches(curves: dict) -> tuple[str, str, str, str]:
    claim = "What is lost was in the blocks, not in the embeddings"
    points = {part: measured.last(curves["patches"].get(part)) for part in ("none", "embeddings", "ffn", "blocks")}
    if any(points[part] is None for part in ("none", "embeddings", "blocks")):
        return claim, MISSING, "", "Representation patches were not measured."
    words = {"embeddings": "the peak's embeddings", "ffn": "its feed-forward layers", "blocks": "its blocks"}
    sentence = f"Accuracy per T\\S word at the end is {_percent(points['none']['value'])}; with " + ", with ".join(
        f"{words[part]} {_percent(points[part]['value'])}" for part in words if points[part]
    )
    number = f"{_percent(points['none']['value'])}, with the peak's blocks {_percent(points['blocks']['value'])}"
    by_seed = {part: points[part]["by_seed"] for part in points if points[part]}
    over_end, over_embeddings = (
        _by_sign(statistics.paired_difference(by_seed[other], by_seed["blocks"])[1:])
        for other in ("none", "embeddings")
    )
    verdict = over_end if over_end == over_embeddings else OPEN
    return claim, verdict, number, f"{sentence}{_alone(curves)}."


def _working_language(curves: dict) -> tuple[str, str, str, str]:
    claim = "The working language marks the decline"
    lens = {
        run: measured.working_language(curves["lens"].get((run, "primary_share_pair"), []))
        for run in ("continual", "control")
    }
    here = lens["continual"]
    if here is None:
        return claim, MISSING, "", "The lens was not run."
    first, at_peak, end = (
        measured.at(here, here["steps"][0]),
        measured.at(here, curves["decline"]["peak_step"]),
        measured.end(here),
    )
    number = f"{_percent(first['value'])} to {_percent(end['value'])}"
    sentence = (
        f"The primary's share in the intermediate layers goes from {_percent(first['value'])} at the start over "
        f"{_percent(at_peak['value'])} at the peak to {_percent(end['value'])} at the end."
    )
    if lens["control"] is None:
        return claim, OPEN, number, f"{sentence} There is no control to compare it with."
    control_first, control = measured.at(lens["control"], lens["control"]["steps"][0]), measured.end(lens["control"])
    number += f", control to {_percent(control['value'])}"
    fall, control_fall = first["value"] - end["value"], control_first["value"] - control["value"]
    if curves["stages"] and curves["control_stages"] is None and control_fall > 0.5 * fall > 0:
        sentence += (
            f" It falls in the control too, to {_percent(control['value'])}, where accuracy does not decline: "
            f"the change is real, "
            "but no marker of the decline."
        )
        return claim, REFUTED, number, sentence
    return claim, OPEN, number, f"{sentence} In the control it ends at {_percent(control['value'])}."


def _functional(curves: dict) -> tuple[str, str, str, str]:
    claim = "Functional neurons fall, and more than in the control"
    here, control = (curves["neurons"].get((run, "functional")) for run in ("continual", "control"))
    if here is None:
        return claim, MISSING, "", "Functional neurons are defined only where both languages' slots are aligned."
    step = curves["decline"]["peak_step"]
    change, beside = measured.change(here, step), measured.change(control, step)
    number = f"{measured.at(here, step)['value']:.0f} to {measured.end(here)['value']:.0f}"
    sentence = f"The number of functional neurons, of {here['n']:,}, goes from {number} (peak to end)"
    if beside is None:
        return claim, OPEN, number, f"{sentence}; no control was measured."
    in_control = f"{measured.at(control, step)['value']:.0f} to {measured.end(control)['value']:.0f}"
    verdict = _by_sign(statistics.paired_difference(change["by_seed"], beside["by_seed"])[1:])
    if verdict == SUPPORTED and change["ci"][1] >= 0:
        verdict = OPEN
    return (
        claim,
        verdict,
        f"{number}, control {in_control}",
        f"{sentence}; in the control from {in_control}{_alone(curves)}.",
    )


def _lape(curves: dict) -> tuple[str, str, str, str]:
    claim, points = "The number of LAPE neurons falls", curves["sensitivity"]
    if not points:
        return claim, MISSING, "", "The LAPE count was not measured over several cuts."
    values = np.array([point["value"] for point in points])
    first, last = points[0], points[-1]
    number = _minus(f"{first['value']:+.0f} to {last['value']:+.0f}, by cut")
    sentence = "From peak to end the LAPE count changes by " + " and by ".join(
        f"{_minus(format(point['value'], '+.1f'))} at the cut of {100 * point['top_rate']:g}{NBSP}%"
        for point in (first, last)
    )
    sentence += "."
    if not ((values < 0).all() or (values > 0).all()):
        return claim, OPEN, number, f"{sentence} The sign depends on the cut: draw no conclusion."
    judged = {_by_sign([-point["ci"][1], -point["ci"][0]]) for point in points}
    verdict = judged.pop() if len(judged) == 1 else OPEN
    return (
        claim,
        verdict,
        number,
        f"{sentence} The sign is the same at every cut{', but not every interval excludes 0' * (verdict == OPEN)}.",
    )


def _calibration(curves: dict) -> tuple[str, str, str, str]:
    claim, predicted = "Eq. 1 follows the knowledge share", curves["primary_share"]["loss"]
    share = curves["measured_shares"].get("knowledge share")
    if predicted is None or share is None:
        return claim, MISSING, "", "Loss or knowledge share was not measured."
    _, left, right = np.intersect1d(predicted["steps"], share["steps"], return_indices=True)
    found = algorithm1.calibration(predicted["pooled"][left], share["mean"][right])
    number = f"off by {100 * found['mean_error']:.0f} points on average"
    sentence = f"Over the checkpoints P(l) is {number} and by up to {100 * found['largest_error']:.0f}"
    verdict = SUPPORTED if found["mean_error"] <= CALIBRATED else REFUTED
    return claim, verdict, number, f"{sentence}; it counts as following up to {100 * CALIBRATED:.0f} points on average."


def _optimum(curves: dict, proposals: dict) -> tuple[str, str, str, str]:
    claim, found = "Algorithm 1 (from the loss) finds the best mix", proposals.get(algorithm1.DEFAULT_SOURCE)
    gap = found and algorithm1.gap_to_best(curves["sweep"], algorithm1.mix_name(found["pairwise_share"]))
    if gap is None:
        return claim, MISSING, "", "The proposed mix or the sweep was not trained."
    language, behind = figures.language_name(curves["new"]), _points(gap)
    sentence = (
        f"Algorithm 1 asks for {_percent(found['pairwise_share'], 1)} {language}; the best mix trained has "
        f"{_percent(gap['best_share'], 1)}. The proposal is {behind} behind the best mix"
    )
    number = f"{behind} behind the best mix"
    if gap["ci"][0] > 0:
        return claim, REFUTED, number, f"{sentence}: Algorithm 1 as written misses the optimum{_alone(curves)}."
    if found["p_star"] in (0, 1):
        return claim, OPEN, number, f"{sentence}. {UNTESTED}"
    if gap["ci"][1] <= NEAR_BEST:
        return claim, SUPPORTED, number, f"{sentence}{_alone(curves)}."
    return claim, OPEN, number, f"{sentence}: the data cannot tell a hit from a miss{_alone(curves)}."


def _original(study: dict, curves: dict, proposals: dict) -> tuple[str, str, str, str]:
    claim, found = "The optimised mix beats the original one", proposals.get(algorithm1.DEFAULT_SOURCE)
    pair = found and algorithm1.compare_mixes(
        curves["sweep"], algorithm1.mix_name(study["original_share"]), algorithm1.mix_name(found["pairwise_share"])
    )
    if pair is None:
        return claim, MISSING, "", "The original or the optimised mix was not trained."
    number = _points(pair, "+")
    sentence = (
        f"The original mix reaches {_percent(pair['first'], 1)}, the optimised one "
        f"{_percent(pair['second'], 1)}: a difference of {number}"
    )
    if found["p_star"] in (0, 1):
        return claim, OPEN, number, f"{sentence}{_alone(curves)}. {UNTESTED}"
    return claim, _by_sign(pair["ci"]), number, f"{sentence}{_alone(curves)}."


def _alone(curves: dict) -> str:
    return "" if len(curves["seeds"]) > 1 else " (one seed: nothing is known about others)"


def _percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f}{NBSP}%"


def _points(point: dict, sign: str = "") -> str:
    """A difference of shares in points with its interval."""
    low, high = (f"{100 * bound:{sign}.1f}" for bound in point["ci"])
    interval = "" if np.isnan(point["ci"][0]) else f" [{low},{NBSP}{high}]"
    return _minus(f"{100 * point['value']:{sign}.1f}{NBSP}points{interval}")


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


# --- captions -------------------------------------------------------------------------------------------------------


def _interval(curve: dict | None) -> str:
    return "" if curve is None else f"Bands: 95 %, {curve['interval']}. "


def _caption_performance(curves: dict, study: dict) -> str:
    problems = curves["problems"]
    unit = "problems" if curves["knowledge"] else "call sites"
    accuracy = curves["accuracy"].get(("continual", curves["new"], "all"))
    parts = [
        f"{problems[0]:,} {unit} per seed, {len(curves['seeds'])} seed{'s' * (len(curves['seeds']) != 1)}. "
        f"{_interval(accuracy)}",
    ]
    if curves["knowledge"]:
        parts.append(
            "S: the new language's corpus covers every word of the problem; T\\S: at least one word only the "
            "primary's corpus covers. "
        )
    if curves["stages"]:
        parts.append("Tints: the stages found. ")
    parts.append(f"{figures.language_name(curves['primary'])}'s own accuracy is measured on the same checkpoints.")
    return "".join(parts)


def _caption_working_language(curves: dict, study: dict) -> str:
    lens = curves["lens"].get(("continual", "primary_share_pair"), [None])[0]
    if lens is None:
        return ""
    where = "words of S" if curves["lens_subset"] == "shared" else "call sites"
    primary, new = (figures.language_name(curves[role]) for role in ("primary", "new"))
    coverage = [measured.end(layer)["value"] for layer in curves["lens"].get(("continual", "argmax_coverage"), [])]
    covered = (
        f" ({_percent(min(coverage))} to {_percent(max(coverage))} of them at the end, by layer)" if coverage else ""
    )
    return (
        f"Logit lens at {lens['n']:,} places ({where}) of {new} prompts where an identifier must come. "
        f"{_interval(lens)}By pairs: share of places where {primary}'s name is more probable than {new}'s; by "
        f"probability: mean of its part in the sum of both; by argmax: its share among the places whose most probable "
        f"token is one of the two{covered}. "
        + (
            "The lower row is the control."
            if any(key[0] == "control" for key in curves["lens"])
            else "No control was run."
        )
    )


def _caption_neurons(curves: dict, study: dict) -> str:
    curve = next(iter(curves["neurons"].values()))
    return (
        f"Counts over {curve['n']:,} feed-forward neurons. {_interval(curve)}LAPE's count is shown for every "
        f"cut because its number of selected neurons is fixed by the cut itself."
    )


def _caption_calibration(curves: dict, study: dict) -> str:
    return (
        "One mark a checkpoint, losses pooled over seeds; training runs from right to left, the ring is the "
        "peak. P(l) is 1 at the first checkpoint and 0 at the last by construction, "
        + ("and the normalised neurons are 0 at the last; " if len(curves["measured_shares"]) == 3 else "")
        + "only the path between is evidence."
    )


def _caption_optimum(curves: dict, study: dict) -> str:
    return (
        f"Models from scratch at equal steps and schedule; small dots are seeds, the ring is the highest mean. "
        f"Band: 95 %, "
        f"{'Student t over seeds' if len(curves['seeds']) > 1 else 'over problems, one seed'}. Shaded strips: "
        f"95 % of the proposal itself, where wider than its line."
    )


def _caption_original(curves: dict, study: dict) -> str:
    if len(curves["seeds"]) == 1:
        return "One seed. Bars: 95 %, paired bootstrap over its problems."
    return f"{len(curves['seeds'])} seeds. Bars: 95 %, Student t over the seeds' differences."


def _caption_patches(curves: dict, study: dict) -> str:
    curve = next(iter(curves["patches"].values()))
    return f"{curve['n']:,} word slots per seed; small dots are seeds. {_interval(curve)}".replace("Bands", "Bars")


def _caption_losses(curves: dict, study: dict) -> str:
    curve = curves["loss"].get(("continual", curves["new"], "loss"))
    tokens = f", {curve['n']:,} tokens per seed" if curve else ""
    return (
        f"Held-out text{tokens}. {_interval(curve)}The loss on the new language can go on falling while "
        f"accuracy falls: it is not a measure of the decline."
    )


SECTIONS = (
    ("performance", "Performance and knowledge share", _caption_performance),
    ("patches", "Representation patches", _caption_patches),
    ("working_language", "Working language", _caption_working_language),
    ("neurons", "Transferring neurons", _caption_neurons),
    ("losses", "Held-out loss", _caption_losses),
    ("calibration", "Eq. 1 against measured shares", _caption_calibration),
    ("optimum", "Predicted and actual optimum", _caption_optimum),
    ("original_optimised", "Original against optimised mix", _caption_original),
)
# which verdicts belong under which figure
UNDER = {
    "performance": ("transition", "control", "knowledge"),
    "patches": ("patches",),
    "working_language": ("working_language",),
    "neurons": ("functional", "lape"),
    "calibration": ("calibration",),
    "optimum": ("optimum",),
    "original_optimised": ("original",),
}


# --- the page -------------------------------------------------------------------------------------------------------


def _page(study: dict, curves: dict, proposals: dict, result: dict, drawn: dict) -> str:
    primary, new = (figures.language_name(study[role]) for role in ("primary", "new"))
    found = verdicts(study, curves, proposals)
    style = Path(__file__).with_name("page.css").read_text()
    body = [
        f"<h1>{_text(primary)} to {_text(new)}: the tower, measured</h1>",
        f'<p class="lead">{_text(_lead(study, curves, primary, new))}</p>',
        "<h2>What the data say</h2>",
        '<div class="scroll"><table class="verdicts"><thead><tr>',
        "<th>Claim</th><th>Verdict</th><th>Main number, 95 % interval</th></tr></thead><tbody>",
        *(
            f'<tr><td><a href="#{section}">{_text(claim)}</a></td>'
            f"<td>{_badge(verdict)}</td><td>{_text(number)}</td></tr>"
            for section, names in UNDER.items()
            for claim, verdict, number, _ in (found[name] for name in names)
        ),
        "</tbody></table></div>",
    ]
    for name, title, caption in SECTIONS:
        body.append(f'<section id="{name}"><h2>{_text(title)}</h2>')
        if name not in drawn:
            reasons = " ".join(found[key][3] for key in UNDER.get(name, ()))
            body.append(f"<p>No figure: {_text(reasons or 'not measured in this study.')}</p></section>")
            continue
        body.append(
            '<ul class="under">' + "".join(f"<li>{_text(found[key][3])}</li>" for key in UNDER.get(name, ())) + "</ul>"
        )
        picture = drawn[name][drawn[name].index("<svg") :]
        body.append(
            f"<figure>{picture}<figcaption>{_text(caption(curves, study))} "
            f'<a href="figures/{name}.csv">Data</a></figcaption></figure>'
        )
        if name == "optimum":
            body.append(_proposal_table(curves, proposals, new))
        body.append("</section>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(primary)} to {_text(new)}: the tower, "
        f"measured</title><style>{style}</style></head><body><main>\n"
        + "\n".join(body)
        + _method(study, curves, result)
        + "\n</main></body></html>\n"
    )


def _lead(study: dict, curves: dict, primary: str, new: str) -> str:
    organism = study["kind"] == "organism"
    score = f"{new} accuracy" if organism else f"{new} identifier accuracy"
    accuracy = curves["accuracy"].get(("continual", curves["new"], "all"))
    seeds = len(study["seeds"])
    text = (
        f"A model trained on {primary} goes on with {new} alone, "
        f"{'in the embedded world' if organism else 'on real source code'}, {seeds} seed{'s' * (seeds != 1)}. "
    )
    if accuracy is None:
        return text
    first = measured.at(accuracy, accuracy["steps"][0])["value"]
    if curves["stages"] is None:
        return (
            text + f"Its {score} goes from {_percent(first)} to {_percent(measured.end(accuracy)['value'])}; no "
            f"transition is seen."
        )
    peak = measured.at(accuracy, curves["decline"]["peak_step"])["value"]
    return (
        text + f"Its {score} rises from {_percent(first)} to {_percent(peak)} and falls to "
        f"{_percent(measured.end(accuracy)['value'])}."
    )


def _proposal_table(curves: dict, proposals: dict, new: str) -> str:
    sweep = {mix["run"]: mix for mix in curves["sweep"]}
    rows = []
    for source, found in proposals.items():
        mix = sweep.get(algorithm1.mix_name(found["pairwise_share"]))
        gap = algorithm1.gap_to_best(curves["sweep"], algorithm1.mix_name(found["pairwise_share"]))
        cells = [
            f"{found['p_star']:.3f}{' (clipped)' if found['out_of_range'] else ''}",
            _bounds(found["p_star_ci"], 1, 3),
            _percent(found["pairwise_share"], 1),
            _percent(found["joint_share"], 1),
            _percent(mix["value"], 1) if mix else "not trained",
            _points(gap) if gap else "",
        ]
        rows.append(
            f"<tr><td>{figures.SOURCE_NAMES[source]}</td>"
            + "".join(f'<td class="n">{_text(cell)}</td>' for cell in cells)
            + "</tr>"
        )
    head = ("P*", "95 %", f"{new} share, pairwise", "joint", "accuracy", "best mix ahead by")
    return (
        '<div class="scroll"><table><thead><tr><th>Source of P*</th>'
        + "".join(f'<th class="n">{_text(name)}</th>' for name in head)
        + "</tr></thead><tbody>" + "".join(rows) + "</tbody></table></div>"
        "<p>With one new language the pairwise and the joint reading of Eq. 3 are the same equation. "
        + (
            "The best mix is chosen on the other seeds.</p>"
            if len(curves["seeds"]) > 1
            else "The best mix is chosen on one half of the problems and measured on the other. The interval of P* "
            "holds only the choice of the checkpoint, not the noise of the loss.</p>"
        )
    )  # fmt: skip


def _bounds(ci, scale: float, digits: int) -> str:
    return "" if np.isnan(ci).any() else f"[{scale * ci[0]:.{digits}f}, {scale * ci[1]:.{digits}f}]"


def _method(study: dict, curves: dict, result: dict) -> str:
    times = ", ".join(f"{phase} {seconds:,.0f} s" for phase, seconds in result["wall_seconds"].items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    width = stages.window(len(curves["accuracy"]["continual", study["new"], "all"]["steps"]))
    smoothed = f"is smoothed over {width} checkpoints" if width > 1 else "is not smoothed (fewer than 16 checkpoints)"
    return (
        "<footer><h2>How these numbers were made</h2>"
        f"<p>Stages: the accuracy pooled over seeds {smoothed}; its maximum is the peak, and the mean of the last "
        "quarter of the checkpoints is the end level. A transition is seen if the peak lies before that quarter, and "
        "the rise from the first checkpoint to it and the decline from it to the end level are both at least "
        f"{100 * stages.MINIMUM_CHANGE:.0f} points with a 95 % interval above 0. Interval: paired bootstrap over "
        "problems within seeds, the peak chosen on one half of the problems and measured on the other, so that a "
        "maximum picked from noise does not count; it speaks about these seeds' models. The transition ends where the "
        f"curve begins to stay within {100 * stages.BAND:.0f} points plus {100 * stages.BAND_SHARE:.0f} % of the "
        "decline around the end level.</p>"
        "<p>Changes from the peak to the end level and differences between mixes are paired over seeds, Student t. A "
        "claim is supported if its 95 % interval lies on its side of 0, not supported if it lies on the other, "
        "undecided otherwise. Ten claims are judged without correction for their number.</p>"
        f"<p>Wall time: {_text(times) or 'not recorded'}. Versions: {_text(versions) or 'not recorded'}. All numbers: "
        '<a href="summary.json">summary.json</a>.</p></footer>'
    )


def _badge(verdict: str) -> str:
    return f'<span class="v {verdict.replace(" ", "-")}">{verdict}</span>'


def _text(text: str) -> str:
    return html.escape(text, quote=False)
