import json
import re

import pandas as pd
import pytest
import synthetic_study

from babel_jax import files, report
from babel_jax.errors import UserError
from babel_jax.report import page, summary

STEPS = synthetic_study.STEPS[::2]
SCHEMA = {
    "primary": 0, "new": 0, "seeds": 0,
    "accuracy": {"start": 0, "peak": {"step": 0, "value": 0, "ci": 0}, "end": {"value": 0, "ci": 0},
                 "decline": {"value": 0, "ci": 0}},
    "control": {"end": {"value": 0, "ci": 0}, "stages": 0},
    "patches": {"embeddings": 0, "blocks": 0, "ffn": 0},
    "knowledge_share": {"ceiling": 0, "at_peak": 0, "end": 0},
    "working_language": {f"primary_share_{at}": 0 for at in ("start", "peak", "end")} | {"layers": 0},
    "transferring_neurons": {definition: {"peak": 0, "end": 0, "control_end": 0}
                             for definition in ("lape_target", "pair_shared", "functional")},
    "stages": 0,
    "algorithm1": {source: {"p_star": 0, "pairwise_share": 0, "joint_share": 0}
                   for source in ("loss", "loss_knowledge", "knowledge_share")},
    "sweep": 0,
    "original_vs_optimised": {"original": 0, "optimised": 0, "difference": 0, "ci": 0},
    "wall_seconds": 0, "versions": 0,
}  # fmt: skip
FIGURES = {
    "performance", "working_language", "neurons", "calibration", "optimum", "original_optimised", "patches", "losses",
}  # fmt: skip


def keys(schema, thing):
    """Both have the same keys, down to the leaves of the schema."""
    if isinstance(schema, dict):
        assert set(thing) == set(schema)
        for name in schema:
            keys(schema[name], thing[name])


def made(path, frame, **study):
    synthetic_study.write_study(path, frame, **study)
    index = report.build(path)
    return index.read_text(), json.loads((path / "report" / "summary.json").read_text())


@pytest.fixture(scope="module")
def organism(tmp_path_factory):
    path = tmp_path_factory.mktemp("organism")
    return path / "report", *made(path, synthetic_study.planted(problems=80, layers=2, steps=STEPS))


def test_summary_has_the_documented_keys_and_tells_the_planted_story(organism):
    _, _, result = organism
    keys(SCHEMA, result)
    assert result["seeds"] == 3 and result["primary"] == "python"
    assert result["stages"]["transition"][0] == result["accuracy"]["peak"]["step"]
    assert result["accuracy"]["peak"]["value"] > 0.9 and result["accuracy"]["decline"]["ci"][0] > 0.2
    assert result["control"]["stages"] is None and result["control"]["end"]["value"] > 0.9
    assert result["patches"]["blocks"] > result["patches"]["embeddings"] + 0.3
    assert max(result["sweep"], key=lambda mix: mix["accuracy"])["new_share"] == 0.2


def test_every_figure_lies_beside_its_data(organism):
    folder, text, _ = organism
    assert {file.stem for file in (folder / "figures").glob("*.svg")} == FIGURES
    assert {file.stem for file in (folder / "figures").glob("*.csv")} == FIGURES
    for file in (folder / "figures").glob("*.csv"):
        header, *rows = file.read_text().splitlines()
        assert header == "panel,series,x,value,low,high" and len(rows) >= 4, file
        assert f'href="figures/{file.name}"' in text
    assert (folder / "story.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_needs_nothing_from_outside(organism):
    _, text, _ = organism
    assert text.count("<svg") == len(FIGURES)
    assert not re.search(r'(src|href)="https?://', text) and "@import" not in text and "url(http" not in text
    ids = [set(re.findall(r'id="([^"]+)"', svg)) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    used = [set(re.findall(r"#([^\")]+)[\")]", svg)) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    for i, references in enumerate(used):
        for other in ids[:i]:
            assert not references & other, "an id of one figure is also an id of an earlier one"


def test_the_page_says_what_the_data_say(organism):
    _, text, _ = organism
    assert "Algorithm 1 as written misses the optimum" in text
    assert "It falls in the control too" in text
    assert "The sign depends on the cut: draw no conclusion" in text
    assert "Student t over 3 seeds" in text


def test_the_same_rows_give_the_same_bytes(organism, tmp_path):
    folder, _, _ = organism
    made(tmp_path, synthetic_study.planted(problems=80, layers=2, steps=STEPS))
    written = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    assert len(written) == 2 * len(FIGURES) + 3
    for name in written:
        assert (folder / name).read_bytes() == (tmp_path / "report" / name).read_bytes(), name


def analysed(frame):
    study = {"primary": "python", "new": "php", "seeds": [0, 1, 2], "original_share": 0.6765}
    curves, proposals = page.analyse(study, frame)
    return summary.summary(study, curves, proposals), page.verdicts(study, curves, proposals)


@pytest.fixture(scope="module")
def rows():
    return synthetic_study.planted(problems=80, layers=2, steps=STEPS)


def test_a_control_that_falls_is_not_hidden(rows):
    copy = rows[rows["run"] == "continual"].assign(run="control").astype(rows.dtypes)
    result, verdicts = analysed(pd.concat([rows[rows["run"] != "control"], copy], ignore_index=True))
    assert result["control"]["stages"] is not None
    _, verdict, _, sentence = verdicts["control"]
    assert verdict == page.REFUTED and "It declines too" in sentence
    assert verdicts["functional"][1] != page.SUPPORTED, "the control's neurons fall as much"


def test_a_curve_that_stays_up_is_no_transition(rows):
    copy = rows[rows["run"] == "control"].assign(run="continual").astype(rows.dtypes)
    result, verdicts = analysed(pd.concat([rows[rows["run"] != "continual"], copy], ignore_index=True))
    assert result["stages"] is None and "no transition seen" in report.terminal_table(result)
    _, verdict, _, sentence = verdicts["transition"]
    assert verdict == page.REFUTED and sentence.startswith("No transition seen")


def test_a_mix_that_hits_is_not_called_a_miss(rows):
    """The proposal's own mix made the best one, in every seed."""
    found = page.analyse({"primary": "python", "new": "php"}, rows)[1]["loss"]
    run = f"mix_{found['pairwise_share']:.4f}"
    better = rows.copy()
    better.loc[(better["run"] == run) & (better["language"] == "php"), "value"] = 0.95
    _, verdicts = analysed(better)
    assert verdicts["optimum"][1] == page.SUPPORTED and "misses" not in verdicts["optimum"][3]
    assert verdicts["original"][1] == page.SUPPORTED


def test_a_best_checkpoint_at_the_end_is_no_test_of_algorithm_1(rows):
    """There P* is 0 by construction, whatever the mix of that name reaches."""
    study = {"primary": "python", "new": "php", "seeds": [0, 1, 2], "original_share": 0.6765}
    curves, proposals = page.analyse(study, rows)
    proposals["loss"]["p_star"] = 0.0
    curves["sweep"] = [mix | {"by_seed": mix["by_seed"] * 0 + 0.5} for mix in curves["sweep"]]
    verdicts = page.verdicts(study, curves, proposals)
    for name in ("optimum", "original"):
        assert verdicts[name][1] == page.OPEN and page.UNTESTED in verdicts[name][3]


def test_real_code_leaves_out_what_it_does_not_measure(tmp_path):
    text, result = made(tmp_path, synthetic_study.real_code(sites=80), kind="real_code")
    keys(SCHEMA, result)
    assert result["knowledge_share"] == {"ceiling": None, "at_peak": None, "end": None}
    assert result["control"]["end"]["value"] is None and result["patches"]["blocks"] is None
    assert result["algorithm1"]["knowledge_share"]["p_star"] is None
    assert result["original_vs_optimised"]["ci"] is not None, "one seed: over its problems"
    assert "Identifier accuracy" in text and "Bits per byte" in text
    assert "Representation patches were not measured" in text
    assert not (tmp_path / "report" / "figures" / "patches.svg").exists()


def test_only_the_continual_run_is_enough(tmp_path):
    frame = synthetic_study.planted(seeds=1, problems=80, layers=2, steps=STEPS)
    _, result = made(tmp_path, frame[(frame["run"] == "continual") & (frame["probe"] == "evaluation")])
    keys(SCHEMA, result)
    assert result["sweep"] == [] and result["stages"] is not None


def test_terminal_table_fits_and_names_the_numbers(organism):
    table = report.terminal_table(organism[2])
    assert max(map(len, table.splitlines())) <= 80
    assert f"{organism[2]['accuracy']['peak']['value']:.3f}" in table and "transition in steps" in table


def test_a_study_without_measurements_says_so(tmp_path):
    with pytest.raises(UserError, match="study.json"):
        report.build(tmp_path)
    files.write_json(tmp_path / "study.json", {"primary": "python", "new": "php", "seeds": [0]})
    with pytest.raises(UserError, match="no measurements"):
        report.build(tmp_path)
