import pytest
from helpers import synthetic_study
from helpers.synthetic_study import changed

from babel_jax.evolution.tasks import WRITING, Tasks
from babel_jax.report import task_figures


@pytest.fixture
def findings():
    return synthetic_study.found()


def test_the_story_has_a_panel_a_task_each_with_its_chance(findings):
    figure, table = task_figures.task_story(findings, "php")
    assert len(figure.axes) == 5 and [ax.get_title() for ax in figure.axes][0] == "writing a program"
    chance = table[table["series"] == "chance"].set_index("panel")["value"].to_dict()
    assert chance == {"returned value": 0.25, "chosen comment": 0.25, "changed program": 0.5}
    for panel, rows in table.groupby("panel"):
        assert {"all questions", "control", "what the new language’s corpus lacks"} <= set(rows["series"]), panel
    curve = findings.tasks.curves["php", "continual", "comment", "all"]
    drawn = table[(table["panel"] == "chosen comment") & (table["series"] == "all questions")]
    assert drawn["value"].tolist() == curve.mean.tolist() and drawn["x"].tolist() == curve.steps.tolist()


def test_mixes_stand_in_the_order_of_writing_with_the_original_among_them(findings):
    figure, table = task_figures.task_mixes(findings)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    writing = table[table["panel"] == "writing a program"]
    assert "original" in labels and writing["value"].is_monotonic_increasing and len(writing) == len(labels)
    assert len(figure.axes) == 5 and all(ax.get_xlim() == (0, 1.03) for ax in figure.axes)
    unlearned = synthetic_study.unlearned(findings, "unimax")
    labels = [label.get_text() for label in task_figures.task_mixes(unlearned)[0].axes[0].get_yticklabels()]
    assert "UniMax *" in labels and "original" in labels


def test_there_is_no_figure_where_writing_alone_was_asked(findings):
    curves = {key: curve for key, curve in findings.tasks.curves.items() if key[2] == WRITING}
    mixes = {key: score for key, score in findings.tasks.mixes.items() if key[1] == WRITING}
    for tasks in (Tasks(), Tasks(curves, mixes)):
        old = changed(findings, tasks=tasks)
        assert task_figures.task_story(old, "php") is None and task_figures.task_mixes(old) is None
