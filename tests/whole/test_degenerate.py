"""Studies in which nothing was learned, or nothing can be concluded: planted, and followed from the rows to the page.

Whatever lies in the rows: nothing warns, no claim is judged that was not tested, and the numbers agree as they are printed.
"""

import functools
import json
import re

import numpy as np
import pandas as pd
import pytest
from helpers import synthetic_study

from babel_jax import report
from babel_jax.__main__ import main
from babel_jax.evolution import stages
from babel_jax.report import page, summary, tables
from babel_jax.report.terminal import terminal_table
from babel_jax.study import facts
from babel_jax.study.claim import MISSING, NOT_TESTED, REFUTED, SUPPORTED
from babel_jax.study.findings import Findings
from babel_jax.study.verdicts import verdicts

pytestmark = [pytest.mark.filterwarnings("error"), pytest.mark.long]
STEPS = synthetic_study.STEPS[::2]
PROBLEMS = 62
MIXES = ("0.0500", "0.2000", "0.5000", "0.6765", "0.8000", "algorithm1_loss", "unimax", "schedule")
JUDGED = {SUPPORTED, REFUTED}


@functools.cache
def _rows(seeds: int) -> pd.DataFrame:
    frame = synthetic_study.planted(seeds, PROBLEMS, layers=2, steps=STEPS, replay=(0.2,))
    return frame[~frame["run"].str.startswith("mix_") | frame["run"].isin([f"mix_{name}" for name in MIXES])]


def planted(change, seeds=2) -> pd.DataFrame:
    """The rows of a study whose story `change` has overwritten; its accuracies are those of its answers."""
    frame = change(_rows(seeds).copy())
    keys, here = ["run", "seed", "step", "language"], (frame["metric"] == "accuracy").to_numpy(bool)
    score = frame[frame["metric"] == "solved"].groupby(keys)["value"].mean()
    if len(score):
        frame.loc[here, "value"] = score.reindex(pd.MultiIndex.from_frame(frame.loc[here, keys])).to_numpy(float)
    return frame


def analysed(frame) -> Findings:
    return synthetic_study.analysed(
        facts.of(synthetic_study.description(frame)), frame, synthetic_study.mixture_files()
    )


def answers(value, run="", language=None):
    """Overwrites the answers in the runs whose names begin with `run`, by a number or what it makes of their rows."""

    def change(frame):
        here = ((frame["metric"] == "solved") & frame["run"].str.startswith(run)).to_numpy(bool)
        if language:
            here &= (frame["language"] == language).to_numpy(bool)
        frame.loc[here, "value"] = value(frame[here]).to_numpy(float) if callable(value) else float(value)
        return frame

    return change


def losses(value):
    def change(frame):
        here = (frame["metric"].isin(["loss", "loss_knowledge"]) & (frame["run"] == "continual")).to_numpy(bool)
        frame.loc[here, "value"] = value(frame.loc[here, "step"])
        return frame

    return change


def only(keep):
    return lambda frame: frame[keep(frame).to_numpy(bool)].copy()


def few(frame):
    """One problem of 62 late in the run, and another one at the last checkpoint but two."""
    last = frame.groupby("run")["step"].transform("max")
    return (frame["item"] == 3) & (frame["step"] >= last / 2) | (frame["item"] == 5) & (frame["step"] == 640)


def continual_at(steps):
    return only(lambda frame: ~frame["run"].isin(["continual", "control"]) | frame["step"].isin(steps))


NOTHING = {
    "nothing solved": answers(0),
    "two of 62 problems": answers(few),
    "the same two, always": answers(lambda frame: frame["item"] % 31 == 0),
}
# What is planted: (change, what no verdict may be judged of, verdicts that are known)
PEAK = (
    "transition",
    "dependence",
    "knowledge",
    "patches",
    "working_language",
    "functional",
    "lape",
    "causes",
    "proposal",
)
MIXED = ("optimum", "original", "rivals", "schedule", "law")
CASES = {
    **{name: (change, (*PEAK, *MIXED, "control", "calibration", "guard", "predicted")) for name, change in NOTHING.items()},
    "everything solved": (answers(1), (*PEAK, *MIXED, "guard")),
    "half of them, always the same": (answers(lambda frame: frame["item"] % 2), (*PEAK, "optimum", "original", "law")),
    "nothing in the new language": (answers(0, language="php"), (*PEAK, *MIXED, "control")),
    "nothing in continual training": (answers(0, "continual"), (*PEAK, "optimum", "original")),
    "nothing in the control": (answers(0, "control"), ("control",)),
    "nothing from scratch": (answers(0, "mix_"), (*MIXED, "guard", "predicted")),
    "nothing by the primary-only model": (answers(0, "primary_only"), ("knowledge", "calibration")),
    "nothing by the new-only model": (answers(0, "new_only"), ("knowledge", "calibration")),
    "the loss stays": (losses(lambda step: 1.25), ("proposal", "optimum", "original", "calibration")),
    "the loss rises": (losses(lambda step: 1 + step / 1000), ("proposal", "optimum", "original", "calibration")),
    "the loss is no number": (losses(lambda step: np.nan), ("proposal", "optimum", "original", "calibration")),
    "the loss diverges": (losses(lambda step: np.where(step > 300, np.inf, 2)), ("proposal", "optimum", "original")),
    "the best is the first": (answers(lambda frame: frame["item"] < PROBLEMS * (1 - frame["step"] / 900), "continual"), PEAK[1:]),
    "the best is the last": (answers(lambda frame: frame["item"] < PROBLEMS * frame["step"] / 900, "continual"),
                             (*PEAK[:-2], "proposal", "original")),
    "no problems": (only(lambda frame: frame["metric"] != "solved"), (*PEAK[:3], "proposal", *MIXED, "control", "guard")),
    "one problem": (only(lambda frame: (frame["metric"] != "solved") | (frame["item"] == 3)), (*PEAK, "optimum", "original")),
    "one checkpoint": (continual_at([40]), (*PEAK, "control")),
    "two checkpoints": (continual_at([0, 40]), (*PEAK[:2], "control", "knowledge", "functional", "proposal")),
}  # fmt: skip


@pytest.mark.parametrize(
    "case, seeds",
    [
        *((case, 2) for case in CASES),
        *(
            (case, 1)
            for case in ("nothing solved", "two of 62 problems", "nothing in continual training", "one problem")
        ),
    ],
)
def test_nothing_is_claimed_that_was_not_tested(case, seeds):
    change, untested = CASES[case]
    findings = analysed(planted(change, seeds))
    judged = verdicts(findings)
    for one in judged:
        assert one.sentence.endswith(".") and "nan" not in f"{one.number} {one.sentence}".split(), one
        if one.name in untested:
            assert one.verdict not in JUDGED, one
        if one.verdict == NOT_TESTED:
            assert "P* " not in one.number
    if case in NOTHING:
        assert {one.verdict for one in judged} == {NOT_TESTED, MISSING}
        here = findings.languages["php"]
        assert here.dependence is None and not here.proposals and findings.schedules.proposal is None
    p_stars = [proposal.p_star for proposal in findings.languages["php"].proposals.values()]
    if "proposal" in untested and case != "the best is the last" and not case.startswith(("the loss", "two check")):
        assert np.isnan(p_stars).all() and all(corpus.as_written is None for corpus in findings.corpora.values())
    json.dumps(summary.summary(findings, judged), allow_nan=False)
    shown = terminal_table(findings)
    texts = (shown, *tables.results(findings, judged).values(), page.page(findings, judged, []))
    assert not any(re.search(r"(?<![-\w])(nan|None)(?![-\w])", text) for text in (shown, texts[1], texts[2]))
    assert max(map(len, shown.splitlines())) <= 80
    agree(shown)


def agree(shown: str) -> None:
    """A decline from the peak is the peak minus the end, as they are printed; another one is not called so."""
    if "no score above chance" in shown:
        assert "accuracy: start" not in shown and "decline" not in shown
        return
    ((_, peak, end),) = re.findall(r"accuracy: start, peak, end +(\S+) +(\S+) +(\S+)", shown)
    declines = re.findall(r"decline from the peak +(\S+)", shown)
    assert len(declines) == 1 or "decline from an earlier checkpoint" in shown
    if declines and declines != ["-"]:
        assert float(peak) - float(end) == pytest.approx(float(declines[0]), abs=0.0011)


def test_a_decline_that_is_not_from_the_peak_is_said_not_to_be():
    """0.726 at the peak and 0.484 at the end, and yet a rise: the peak lies within the end."""
    findings = analysed(planted(CASES["the best is the last"][0]))
    shown = terminal_table(findings)
    assert re.search(r"accuracy: start, peak, end +0.000  0.726  0.484", shown)
    assert re.search(r"decline from an earlier checkpoint +-0.290", shown)
    assert (
        "(before the last quarter, in which the peak lies)"
        in tables.results(findings, verdicts(findings))["results.md"]
    )


@pytest.mark.parametrize("draw", range(20))
def test_the_peak_minus_the_end_is_the_decline(draw):
    generator = np.random.default_rng(draw)
    height_C = generator.uniform(0, 1, 10) if draw % 2 else np.full(10, 0.5)
    solved = [(generator.uniform(size=(10, 20)) < height_C[:, None]).astype(float) for _ in range(1 + draw % 3)]
    run = stages.find(range(10), solved)
    if not run.peak_in_end:
        assert run.peak.value - run.plateau.value == pytest.approx(run.decline.value)


def test_a_study_that_solves_nothing_has_a_report_and_no_corpus(tmp_path, capsys):
    """All figures, and what `optimize` says of it."""
    synthetic_study.write_study(tmp_path, planted(NOTHING["two of 62 problems"]))
    written = report.build(tmp_path).page.read_text()
    assert 'class="v not-tested">not tested<' in written and 'class="v supported"' not in written
    assert "No score in PHP is above chance, which is 0\N{NO-BREAK SPACE}%" in written
    assert main(["optimize", f"--workdir={tmp_path}", "--source=loss"]) == 2
    printed = capsys.readouterr().err
    assert "has no proposal: php: No score is above chance, so there is no P* and no proposal." in printed
    assert not re.search(r"\bnan\b", printed)


@pytest.mark.parametrize(
    "score, loss, p_star",
    [
        (np.zeros(6), np.linspace(3, 1, 6), "not determined"),
        (np.ones(6), np.linspace(3, 1, 6), "not determined"),
        (np.full(6, 0.5), np.linspace(3, 1, 6), "not determined"),
        (np.array([0, 0, 0.02, 0.04, 0.02, 0]), np.linspace(3, 1, 6), "not determined"),
        (np.array([0, 0.5, 0.9, 0.6, 0.5, 0.5]), np.full(6, 1.25), "not determined"),
        (np.array([0, 0.5, 0.9, 0.6, 0.5, 0.5]), np.linspace(1, 3, 6), "not determined"),
        (np.array([0, 0.5, 0.9, 0.6, 0.5, 0.5]), np.array([3, 2, 1.5, 1.2, 1.1, 1.1]), "0.2535"),
    ],
)
def test_a_table_that_tells_nothing_keeps_its_corpus(tmp_path, capsys, score, loss, p_star):
    frame = pd.DataFrame({"language": "php", "step": np.tile(range(6), 2), "seed": np.repeat([0, 1], 6), "n": 50})
    frame["tokens"], frame["score"], frame["loss"] = 100 * frame["step"], np.tile(score, 2), np.tile(loss, 2)
    frame.to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "mix.json"
    table = [f"--csv={tmp_path / 'table.csv'}", "--primary=python", "--original=python=11,php=23", f"--out={out}"]
    assert main(["optimize", *table, "--assume=php", "--source=loss"]) == 0
    printed = capsys.readouterr().out
    assert p_star in printed and not re.search(r"\bnan\b", printed)
    made = json.loads(out.read_text())["made"]
    assert (made["proposals"]["php"]["p_star"] is None) == (p_star == "not determined")
    assert (made["corpus"]["tokens"]["php"] == 23) == (p_star == "not determined")
