import re

import pytest
from helpers import python
from helpers.commands import refused

from babel_jax.__main__ import main
from babel_jax.cli import verbs
from babel_jax.cli.corpus import COMMANDS


@pytest.mark.processes
def test_the_overview_names_every_verb_and_loads_no_heavy_library():
    code = """if True:
        import sys
        from babel_jax.__main__ import main
        status = main(["--help"])
        heavy = {"jax", "numpy", "pandas", "scipy", "matplotlib", "ml_collections"} & set(sys.modules)
        sys.exit(f"{status}: {heavy}" if status or heavy else 0)"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  "))
    assert list(lines) == list(verbs.VERBS) and all(text.endswith(".") for text in lines.values())


@pytest.mark.parametrize("words", [[verb] for verb in verbs.VERBS] + [["corpus", command] for command in COMMANDS])
def test_the_help_of_a_verb_has_sentences_and_a_command_that_stays_in_one_line(capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    about = capsys.readouterr().out.split("\n\n", 1)[1]
    assert re.match(r"[A-Z][^.]*\.", about), "a full sentence"
    assert re.search(rf"^  python -m babel_jax {' '.join(words)} ?\S*", about, re.MULTILINE)


def test_an_unknown_verb_or_command_is_one_line(capsys):
    assert "did you mean 'study'" in refused(capsys, "stduy")
    assert "invalid choice: 'bild'" in refused(capsys, "corpus", "bild")
    assert main([]) == 2, "without a verb the overview is printed"
