"""Which report a folder is given."""

import pytest
from helpers import planted_probe, synthetic_study

from babel_jax import report
from babel_jax.__main__ import main
from babel_jax.common.errors import UserError
from babel_jax.report import figures, folder, probe_page

pytestmark = pytest.mark.filterwarnings("ignore:only .* of the .* neurons")


def test_a_probes_folder_gets_the_page_of_a_probe(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(probe_page, "FIGURES", (probe_page.BY_NAME["losses"],))
    planted_probe.write(tmp_path / "probes", steps=(5,))
    assert main(["report", f"--workdir={tmp_path / 'probes'}"]) == 0
    assert f"report: {tmp_path}/probes/report/index.html" in capsys.readouterr().out
    assert "pretrain, probed" in (tmp_path / "probes/report/index.html").read_text()


def test_a_study_that_was_probed_into_stays_a_study(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FIGURES", ())
    synthetic_study.write_study(tmp_path, synthetic_study.planted(seeds=1, problems=20, layers=2, steps=(0, 10, 100)))
    planted_probe.write(tmp_path / "other", steps=(5,))
    monkeypatch.setattr(folder, "build", lambda place: place)
    assert report.build(tmp_path) == tmp_path


def test_a_folder_of_neither_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match="study.json"):
        report.build(tmp_path)
