import pytest

from babel_jax.cli.parser import Parser
from babel_jax.common.errors import UserError


@pytest.fixture
def parser():
    verb_parser = Parser(prog="verb")
    verb_parser.add_argument("--config")
    verb_parser.add_argument("--rows", default="64")
    verb_parser.add_argument("--fast", action="store_true")
    return verb_parser


def test_arguments_know_which_of_them_stood_on_the_command_line(parser):
    arguments = parser.parse(["--rows=64", "--fast", "--config=c.py", "--config.steps=3"])
    assert arguments.given == {"rows", "fast", "config"} and arguments.settings == ["--config.steps=3"]
    assert parser.parse([]).given == set() and parser.parse([]).rows == "64"
    arguments.only_with(True, "--fast", "rows")
    with pytest.raises(UserError, match="--rows goes with --slow; leave it out"):
        arguments.only_with(False, "--slow", "rows")


@pytest.mark.parametrize(
    "words, message",
    [
        (["--config.steps=3"], "cannot read the argument '--config.steps=3'; `verb --help` explains"),
        (["stray"], "cannot read the argument 'stray'"),
        (["--row=3"], "cannot read the argument '--row=3'"),
        (["--rows=1", "--rows=2"], "--rows: is given twice|--rows is given twice"),
        (["--rows="], "--rows is empty"),
        (["--rows=--"], "--rows is '--'; give it a value"),
    ],
)
def test_a_mistake_is_a_user_error(parser, words, message):
    with pytest.raises(UserError, match=message):
        parser.parse(words)
