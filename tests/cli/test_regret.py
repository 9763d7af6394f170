"""The verb prints a table and writes it; what is no finished study is named and left out."""

import json

import pandas as pd
from helpers import synthetic_study

from babel_jax.__main__ import main
from babel_jax.cli import regret
from babel_jax.common.files import write_json
from babel_jax.study import predictions


def write(place, candidates):
    _, frame = synthetic_study.alone()
    synthetic_study.write_study(place, frame)
    described = json.loads((place / "study.json").read_text())
    write_json(place / "study.json", described | {"config": {"candidates": candidates}})
    write_json(place / "config.json", {})


def test_the_table_is_printed_and_written_and_what_is_not_finished_is_named(tmp_path, capsys):
    for name in ("a", "b", "unfinished"):
        write(tmp_path / name, ["algorithm1_loss", "unimax"])
        if name != "unfinished":
            predictions.write(tmp_path / name, ["algorithm1_loss"])
    places = [str(tmp_path / name) for name in ("a", "b", "unfinished")]
    main(["regret", "--workdirs", *places, f"--out={tmp_path / 'table'}"])
    printed = capsys.readouterr().out
    assert "unfinished is left out: it has not proposed any corpus yet" in printed
    assert "shuffled labels: p" in printed
    rows = pd.read_csv(tmp_path / "table/regret.csv")
    assert set(rows["optimiser"]) == {"original", "algorithm1_loss", "unimax"} and (rows["cells"] == 2).all()
    assert len(pd.read_csv(tmp_path / "table/regret_cells.csv")) == 6
    curves = pd.read_csv(tmp_path / "table/regret_curves.csv")
    assert list(zip(curves["fitted_on"], curves["tested_on"], strict=True)) == [("a", "b"), ("b", "a")]
    assert "the curve of one cell for the mixes of another (2 pairs" in printed
    assert (tmp_path / "table/regret.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_summed_up_in_a_line():
    frame = pd.DataFrame({"order": [1.0, 0.5, 0.0], "none": 0.4, "fitted": 0.1, "baseline": 0.2})
    assert regret.of_curves(frame) == (
        "the curve of one cell for the mixes of another (3 pairs, medians): order 0.50, error 0.400, with the distance fitted "
        "there 0.100, that of a mean 0.200"
    )


def test_without_a_finished_study_nothing_is_written(tmp_path, capsys):
    write(tmp_path / "a", ["algorithm1_loss"])
    try:
        main(["regret", "--workdirs", str(tmp_path / "a"), f"--out={tmp_path / 'table'}"])
    except SystemExit as end:
        assert end.code == 2
    assert "no study here is finished" in capsys.readouterr().err and not (tmp_path / "table").exists()
