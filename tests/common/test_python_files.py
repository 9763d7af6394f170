import os
import re

import pytest
from helpers import ROOT

from babel_jax.__main__ import main
from babel_jax.cli.settings import load_config
from babel_jax.common import python_files
from babel_jax.common.errors import UserError

DICT = "from ml_collections import ConfigDict, FrozenConfigDict, config_dict\n"
BAD_FILES = {
    "": "has no get_config",
    '{"kind": "organism"}': "has no get_config",
    "get_config = 3": "has no get_config",
    "x = 1\0": "cannot be run: (Syntax|Value)Error",  # as this Python calls it
    "def get_config(:": r"cannot be run: SyntaxError: .*\(line 1\)",
    "import nothing_of_this_name": r"ModuleNotFoundError: .* \(line 1\)",
    "def get_config():\n    raise RuntimeError('a\\nb')": r"RuntimeError: a b \(line 2\)",
    "import sys\nsys.exit(0)": r"SystemExit: 0 \(line 2\)",
    "class E(BaseException):\n    def __str__(self): raise ValueError\nraise E": r"cannot be run: E \(line 3\)",
    "def get_config(): return get_config()": "RecursionError",
    "def get_config(): return None": "returns None; it must return a ConfigDict",
    "def get_config(): return {'kind': 'organism'}": "returns {'kind': 'organism'}; it must return a ConfigDict",
    "def get_config(): yield": "it must return a ConfigDict",
    "def get_config(new): return new": "is given nothing, and cannot be called so .missing a required argument: 'new'",
    DICT + "def get_config(): return ConfigDict({'a.b': 1})": "ValueError: ConfigDict does not accept dots",
    DICT + "def get_config(): return ConfigDict({1: 2})": "unknown config key '1'",
    DICT + "def get_config(): return FrozenConfigDict({'seeds': (0, 0)})": "seeds has 0 twice",
    DICT + "def get_config(): return ConfigDict({'kind': config_dict.placeholder(str)})": "kind must be one of",
    DICT + "def get_config(): return ConfigDict({'kind': config_dict.required_placeholder(str)})": "RequiredValueError",
    DICT
    + "def get_config():\n    c = ConfigDict({'common': {}})\n    c.common.model = c\n    return c": "unknown config key",
}


@pytest.mark.parametrize("text, message", BAD_FILES.items(), ids=[text[-40:] for text in BAD_FILES])
def test_a_file_without_a_config_is_an_error_of_one_line(capsys, tmp_path, text, message):
    (tmp_path / "c.py").write_text(text)
    assert main(["train", f"--config={tmp_path / 'c.py'}", f"--workdir={tmp_path / 'W'}", "--run=continual"]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err) and printed.err.count("\n") == 1 and printed.out == ""
    assert not (tmp_path / "W").exists()


def test_what_is_not_a_file_is_an_error_of_one_line(tmp_path):
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "folder.py" / "__main__.py").write_text("1 / 0")
    os.mkfifo(tmp_path / "fifo.py")
    (tmp_path / "plain.py").write_text("def get_config():\n    return {}")
    (tmp_path / "lookup.py").write_text("def get_config(language):\n    return {}[language]")
    for path, message in (
        (tmp_path / "folder.py", "cannot read .*folder.py: it is a folder; configs/ holds those"),
        (tmp_path / "fifo.py", "cannot read .*fifo.py: it is not a plain file"),
        ("/dev/zero", "cannot read /dev/zero: it is not a plain file"),
        (tmp_path / "absent.py", "there is no config"),
        ("a" * 300 + ".py", "is too long"),
        ("\0.py", "holds a NUL character"),
        ("gs://bucket/c.py", "is in a bucket; copy it to a disk"),
        (tmp_path / "plain.py:php", "is given 'php', and cannot be called so"),
        (f"{ROOT}/configs/gpt2.py:1b3_gp", "unknown variant of .*gpt2.py: '1b3_gp'; did you mean '1b3_go'?"),
        (f"{tmp_path}/lookup.py:cobol", r"KeyError: 'cobol' \(line 2\)"),
    ):
        with pytest.raises(UserError, match=message):
            load_config(str(path), [])
    (tmp_path / "c.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_config(str(tmp_path / "c.py"), [])


VARIANTS = """
from ml_collections import ConfigDict
VARIANTS = {"small": (0,), "large": (0, 1)}
def get_config(variant%s):
    return ConfigDict(dict(kind="organism", seeds=VARIANTS[variant]))
"""


def test_variants_of_a_config_are_chosen_by_the_argument(tmp_path):
    (tmp_path / "c.py").write_text(VARIANTS % "")
    (tmp_path / "d.py").write_text(VARIANTS % '="small"')
    assert load_config(f"{tmp_path}/c.py:large", []).seeds == load_config(f"{tmp_path}/d.py:large", []).seeds == (0, 1)
    assert load_config(f"{tmp_path}/d.py", []).seeds == (0,)
    for place, message in (
        ("c.py", "c.py has several variants; choose one: .*/c.py:small, :large."),
        ("c.py:larg", "unknown variant of .*/c.py: 'larg'; did you mean 'large'?"),
        ("d.py:", "unknown variant of .*/d.py: ''; known: large, small."),
    ):
        with pytest.raises(UserError, match=message):
            load_config(f"{tmp_path}/{place}", [])


def test_the_argument_begins_behind_the_file_whatever_colons_its_name_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("c.py", "c.py:d.py", "e:f.py"):
        (tmp_path / name).write_text("")
    for place, expected in {
        "c.py": ("c.py", None),
        "c.py:small": ("c.py", "small"),
        "c.py:/data:x.py:y": ("c.py", "/data:x.py:y"),
        "c.py:d.py": ("c.py:d.py", None),
        "c.py:d.py:small": ("c.py:d.py", "small"),
        "e:f.py": ("e:f.py", None),
        "e:f.py:small": ("e:f.py", "small"),
        "absent.py:small": ("absent.py", "small"),
        r"C:\configs\absent.py": (r"C:\configs\absent.py", None),
        r"C:\configs\absent.py:small": (r"C:\configs\absent.py", "small"),
        "gs://bucket/c.py:small": ("gs://bucket/c.py", "small"),
        "gs://bucket/c.py": ("gs://bucket/c.py", None),
        "corpus.yaml": ("corpus.yaml", None),
    }.items():
        assert python_files.split_argument(place) == expected, place
