import io

import matplotlib
import numpy as np
import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed, harmed, mix_named, unlearned
from PIL import Image

from babel_jax.report import drawing, figures
from babel_jax.study import facts

SEVERAL = ("php", "cpp")
# All but the regrets, which are a table of the package, whatever the study.
OF_STUDY = tuple(name for name in figures.BY_NAME if name != "regret")


PROPOSAL = ("languages", "php", "proposals", "loss")


def drawn(findings, name, language=None):
    with matplotlib.rc_context(drawing.STYLE):
        figure = figures.BY_NAME[name]
        about = () if figure.of_study else (language or next(iter(findings.languages)),)
        return figure.draw(findings, *about)


@pytest.fixture
def findings():
    return synthetic_study.found()


def test_every_figure_is_drawn_with_the_table_of_what_it_draws(findings):
    for name in OF_STUDY:
        made = drawn(findings, name)
        if name == "languages":
            assert made is None, "one language has nothing to be compared with"
            continue
        figure, table = made
        assert list(table.columns) == ["panel", "series", "x", "value", "low", "high"] and len(table) >= 3, name
        assert table[["value", "low", "high"]].notna().any().all() or name in ("drift", "story"), name
        assert (table["low"] <= table["high"]).where(table["low"].notna(), True).all(), name
        picture = Image.open(io.BytesIO(drawing.png(figure)))
        assert picture.width == 1536 or name == "story", name
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20, f"{name} is empty"


def test_several_languages_have_a_figure_of_all_and_one_each():
    findings = synthetic_study.found(SEVERAL)
    figure, table = drawn(findings, "languages")
    decline = table[table["panel"] == "decline"].set_index("series")["value"]
    assert decline["php"] > 0.2 > decline["cpp"]
    assert "does not depend" in drawing.svg(figure, "languages")
    for name in ("story", "tokens", "optimum", "rivals", "predicted"):
        assert drawn(findings, name) is not None, name
    assert set(drawn(findings, "story")[1]["series"]) >= {"PHP", "C++", "PHP, control"}
    assert drawn(findings, "patches", "cpp") is None and drawn(findings, "patches", "php") is not None


def test_the_better_corpus_stands_beside_the_original_in_every_language():
    findings = synthetic_study.found(SEVERAL)
    name = findings.optimised_name
    _, table = drawn(findings, "better")
    assert set(table["panel"]) == {"python", *SEVERAL, "macro"}
    for score in ("php", "macro"):
        (row,) = table[(table["panel"] == score) & (table["series"] == "difference")].itertuples()
        pair = findings.against_original(name, score)
        assert (row.value, row.low, row.high) == (pair.value, *pair.ci)
    assert drawn(unlearned(findings, name), "better") is None, "nothing is compared that has not learned the primary"
    text = drawing.svg(drawn(unlearned(findings, "unimax"), "rivals")[0], "rivals")
    assert "UniMax (not tested: primary not learned)" in text


def test_curves_without_a_value_are_said_to_have_none(findings):
    neurons = findings.languages["php"].curves.neurons
    nothing = {
        key: changed(curve, mean=curve.mean * np.nan, low=curve.low * np.nan, high=curve.high * np.nan)
        if key[1] == "functional"
        else curve
        for key, curve in neurons.items()
    }
    findings = changed(findings, "languages", "php", "curves", neurons=nothing)
    assert drawing.NO_VALUE in drawing.svg(drawn(findings, "neurons")[0], "neurons")


def test_the_same_findings_give_the_same_bytes(findings):
    first, again = (drawn(synthetic_study.found(), "stages") for _ in range(2))
    assert drawing.svg(first[0], "stages") == drawing.svg(again[0], "stages")
    assert drawing.png(first[0]) == drawing.png(again[0])
    assert drawing.svg(first[0], "stages") != drawing.svg(again[0], "stages_php"), "ids tell figures of a page apart"


def test_the_stages_figure_shows_the_peak_and_how_sure_it_is(findings):
    _, table = drawn(findings, "stages")
    peak = findings.languages["php"].stages.peak
    (row,) = table[(table["panel"] == "peak") & (table["series"] == "step")].itertuples()
    assert [row.value, row.low, row.high] == [peak.step, *peak.step_ci]
    assert table.loc[table["panel"] == "best checkpoint", "value"].sum() == pytest.approx(1)


def test_tokens_show_every_proposal_beside_the_original(findings):
    _, table = drawn(findings, "tokens")
    by_series = table.set_index("series")["value"]
    assert by_series["original"] == 23 and by_series["optimised in the paper"] == 5
    asked = by_series[by_series.index.str.startswith("asked from loss:")]
    assert asked.iloc[0] == pytest.approx(findings.languages["php"].proposals["loss"].tokens)
    peak = table[table["series"].str.startswith("asked from peak_tokens: change")].iloc[0]
    unit = sum(findings.study.original.values()) / findings.mix_named(findings.original_name).tokens
    assert peak["value"] == pytest.approx(unit * findings.languages["php"].peak_tokens.tokens)
    assert peak["low"] < peak["value"] < peak["high"] < findings.study.original["php"]
    without = changed(findings, mixes=[])
    assert not drawn(without, "tokens")[1]["series"].str.contains("peak_tokens").any(), "no budget is known"
    endless = changed(findings, *PROPOSAL, tokens=np.inf, tokens_ci=(40.0, np.inf))
    assert drawn(endless, "tokens") is not None, "P* = 0 asks for tokens without end"
    none = changed(findings, *PROPOSAL, tokens=0.0, tokens_ci=(0.0, 0.0))
    (place,) = (text.xy for text in drawn(none, "tokens")[0].axes[0].texts if text.get_text().startswith("loss:"))
    assert place[0] > 0, "P* = 1 asks for none, which a logarithmic axis cannot show"


def test_no_name_covers_another_where_many_points_meet():
    figure, axes = drawing.make_axes(1, 4.4)
    ax = axes[0, 0]
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    names = [f"Algorithm 1, share {number}" for number in range(8)]
    labels = [drawing.Label(0.88, 0.1 + 0.01 * i, name, "black") for i, name in enumerate(names)]
    drawing.label_points(ax, labels, [(0.89, 0.5)])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == len(names)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def test_rivals_mark_who_is_harmed_and_what_the_search_costs(findings):
    figure, table = drawn(harmed(findings, "algorithm1_loss", "python", 0.2), "rivals")
    text = drawing.svg(figure, "rivals")
    assert "Algorithm 1, loss (fails the guard)" in text and "UniMax (fails the guard)" not in text
    costs = table[table["panel"] == "search cost"].set_index("series")["value"]
    assert costs["unimax"] == 0 and costs["algorithm1_loss"] > 0
    loss = table[(table["panel"] == "by language: python") & (table["series"] == "algorithm1_loss")]
    assert loss["high"].item() < 0


def test_a_longer_mix_is_shown_apart_from_those_of_equal_length(findings):
    best = mix_named(findings, "unimax")
    longer = changed(best, name="unimax_equal_epochs", steps=3 * best.steps)
    pairs = [pair for pair in findings.comparisons if pair.second == "unimax"]
    pairs = [changed(pair, second="unimax_equal_epochs", value=0.9) for pair in pairs]
    findings = changed(findings, mixes=[*findings.mixes, longer], comparisons=[*findings.comparisons, *pairs])
    assert "unimax_equal_epochs" not in set(drawn(findings, "optimum")[1]["series"])
    lowest = min(drawn(findings, "rivals")[0].axes[0].get_yticklabels(), key=lambda label: label.get_position()[1])
    assert lowest.get_text() == "UniMax, equal epochs"


def test_the_calibration_shows_the_link_that_was_chosen(findings):
    _, table = drawn(findings, "calibration")
    fits = findings.languages["php"].calibration
    best = fits["loss"]["knowledge_share"].best
    assert (f"loss, {best} link" in set(table["series"])) == (best != "identity")
    plain = {
        source: {name: changed(fit, best="identity") for name, fit in of_source.items()}
        for source, of_source in fits.items()
    }
    findings = changed(findings, "languages", "php", calibration=plain)
    assert not drawn(findings, "calibration")[1]["series"].str.contains("link").any()


def test_what_was_not_measured_is_not_drawn(findings):
    empty = synthetic_study.empty(findings)
    for name in OF_STUDY:
        assert drawn(empty, name) is None, name


def test_the_schedule_shows_the_proposal_on_the_measured_surface(findings):
    _, table = drawn(findings, "schedule")
    found = findings.schedules
    assert set(table.loc[table["panel"] == "surface", "series"]) == {"0 % replay", "5 % replay", "20 % replay"}
    proposed = table[table["panel"].str.startswith("proposed")].set_index("series")["value"]
    assert proposed["score"] == found.proposal.predicted
    assert proposed["php: tokens"] == pytest.approx(found.proposal.phase_tokens)


@pytest.mark.parametrize("missing", ["control", "transition", "schedule"])
def test_parts_may_be_missing(missing, findings):
    """No control, no transition, no proposal of a schedule: what is left is drawn."""
    curves = findings.languages["php"].curves
    if missing == "control":
        parts = (
            "accuracy",
            "knowledge",
            "lens",
            "working_language",
            "beside_others",
            "concept_share",
            "neurons",
            "loss",
        )
        kept = {part: {k: v for k, v in getattr(curves, part).items() if "control" not in (k, k[0])} for part in parts}
        findings = changed(findings, "languages", "php", "curves", control=None, **kept)
    elif missing == "transition":
        findings = changed(findings, "languages", "php", "curves", "continual", stages=None)
    else:
        findings = changed(findings, "schedules", proposal=None)
    for name in OF_STUDY:
        if name != "languages":
            assert drawn(findings, name) is not None, name


def test_a_single_checkpoint_is_no_curve():
    frame = synthetic_study.planted(seeds=2, problems=20, layers=2, steps=np.array([0]))
    frame = frame[~frame["run"].str.startswith("mix_") & ~frame["probe"].isin(["intervention", "patch"])]
    findings = synthetic_study.analysed(facts.of(synthetic_study.description(frame)), frame)
    for name in ("story", *(figure.name for figure in figures.FIGURES if not figure.of_study)):
        assert drawn(findings, name) is None, name


def test_labels_at_line_ends_do_not_overlap():
    with matplotlib.rc_context(drawing.STYLE):
        figure, axes = drawing.make_axes(1, 3)
        axes[0, 0].set_ylim(0, 1)
        drawing.label_ends(
            axes[0, 0], [(0.5, "one", "k"), (0.51, "two", "k"), (0.52, "three", "k"), (np.nan, "no", "k")]
        )
    heights = sorted(text.get_position()[1] for text in axes[0, 0].texts)
    assert len(heights) == 3 and np.diff(heights).min() > 0.06


@pytest.mark.parametrize("steps", [[0], [0, 100], list(range(0, 1000, 10))])
def test_the_step_axis_takes_any_number_of_checkpoints(steps):
    with matplotlib.rc_context(drawing.STYLE):
        figure, axes = drawing.make_axes(1, 3)
        drawing.step_axis(axes[0, 0], np.array(steps))
        drawing.png(figure)
    low, high = axes[0, 0].get_xlim()
    assert low == 0 and high == (steps[-1] or 1) and len(axes[0, 0].get_xticks()) <= 10


def test_more_than_two_languages_have_a_panel_of_their_shares(findings):
    curves = findings.languages["php"].curves
    assert set(drawn(findings, "concept_share")[1]["panel"]) == {
        f"{run}, {metric}"
        for run in ("continual", "control")
        for metric in ("primary_share_pair", "primary_share_others", "concept_share")
    }
    among = {("continual", language): curves.working_language["continual"] for language in ("cpp", "php", "python")}
    findings = changed(findings, "languages", "php", "curves", language_shares=among)
    figure, table = drawn(findings, "concept_share")
    assert set(table["series"][table["panel"] == "continual, language_share_prob"]) == {"C++", "PHP", "Python"}
    assert "names in" not in (caption := figures.BY_NAME["concept_share"].caption_of(findings, "php"))
    assert "those in C++, PHP and Python" in caption
    old = changed(findings, "languages", "php", "curves", lens={})
    assert drawn(old, "concept_share") is None
