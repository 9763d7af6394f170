import pytest

from babel_jax.common import measurements
from babel_jax.common.errors import UserError


def row(**changes) -> dict:
    about = dict(run="continual", seed=0, step=3, probe="loss", metric="loss", value=1.5)
    return measurements.row(**(about | changes))


def test_a_row_has_every_column_and_no_other():
    assert list(row()) == list(measurements.COLUMNS)
    assert (row()["layer"], row()["language"], row(options={"b": 1, "a": 2})["options"]) == (-1, "", '{"a": 2, "b": 1}')
    for wrong in (dict(lang="php"), dict(value=None, wrong=1)):
        with pytest.raises(ValueError, match="unknown columns"):
            row(**wrong)
    with pytest.raises(ValueError, match=r"without \['run', 'seed', 'step'"):
        measurements.row(probe="loss", metric="loss", value=1.0)


def test_options_are_read_row_by_row_with_a_default():
    frame = measurements.table(
        [row(options=about) for about in ({"subset": "all", "k": 1}, {}, {"subset": "all", "k": 1})]
    )
    assert measurements.option(frame, "subset", "none").tolist() == ["all", "none", "all"]
    assert measurements.option(frame, "k").tolist() == [1, "", 1]
    assert measurements.option(frame[:0], "k").tolist() == []


def test_what_is_written_is_read_in_one_order_from_runs_and_studies(tmp_path):
    for name in ("seed0/a", "seed0/b"):
        measurements.write(tmp_path / name / "measurements" / "x.parquet", measurements.table([row(run=name[-1])]))
    assert (
        measurements.read(tmp_path)["run"].tolist()
        == ["a", "b"]
        == measurements.read(tmp_path / "seed0")["run"].tolist()
    )
    assert measurements.read(tmp_path / "seed0" / "b").equals(measurements.table([row(run="b")]))
    with pytest.raises(UserError, match="no measurements under .*seed1"):
        measurements.read(tmp_path / "seed1")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="x.parquet is not a readable measurement table"):
        measurements.read(tmp_path / "x.parquet")
