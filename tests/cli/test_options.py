"""Options that several verbs share."""

import re

import pytest
from helpers import ROOT

from babel_jax.__main__ import main

TINY = f"{ROOT}/configs/organism.py:tiny"


@pytest.mark.parametrize("seed", ["-1", "1.0", "True", "x", str(2**32), "1e400", "9" * 5000])
@pytest.mark.parametrize(
    "command",
    [
        ["train", f"--config={TINY}", "--run=continual", "--workdir=W"],
        ["evaluate", f"--config={TINY}", "--run=continual", "--workdir=W"],
        ["evaluate", "--suite=world", "--checkpoints=x", "--out=W"],
        ["probe", "--checkpoints=x", "--out=W"],
    ],
    ids=lambda command: " ".join(command[:2])[:20],
)
def test_a_seed_is_one_wherever_it_is_given(capsys, monkeypatch, tmp_path, command, seed):
    monkeypatch.chdir(tmp_path)
    assert main([*command, f"--seed={seed}"]) == 2
    assert re.search("--seed is .*; give (a whole number of at least 0|at most 4294967295)", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
