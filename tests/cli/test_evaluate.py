"""The two forms of `evaluate`: problem suites, or one run of a study."""

import pytest
from helpers import ROOT
from helpers.commands import refused

RUN = [f"--config={ROOT}/configs/organism.py:tiny", "--workdir=W", "--run=continual"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--config and --workdir and --run must be given to measure a run of a study; for problem suites give --suite"),
        (RUN[:2], "--run must be given"),
        ([*RUN, "--solutions"], "--solutions goes with --suite; leave it out"),
        ([*RUN, "--likelihood"], "--likelihood goes with --suite"),
        ([*RUN, "--jobs=1"], "--jobs goes with --suite"),
        (["--suite=world", "--solutions"], "--suite needs --out"),
        (["--suite=world", "--out=O"], "give --checkpoints, --completions or --solutions"),
        (["--suite=world", "--out=O", "--solutions", "--workdir=W"], "--workdir goes with a run of a study, not with --suite"),
        (["--suite=world", "--out=O", "--solutions", "--mixture=M"], "--mixture goes with a run of a study"),
        (["--suite=world", "--out=O", "--solutions", "--config.common.steps=3"], "cannot read the argument '--config.common"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_other_form_or_is_missing_is_one_line(capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "evaluate", *arguments)
    assert list(tmp_path.iterdir()) == []
