"""The verb `convert`: its commands, and how it was called before it had any."""

import json

import pytest
from helpers import SMALL, SMALL_WORLD, loud

from babel_jax.__main__ import main
from babel_jax.common import files
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.model_folders import write_model

LLAMA = DecoderConfig(
    vocab_size=40, width=12, layers=2, heads=2, kv_heads=1, head_width=6, ffn_width=20, max_length=16,
    architecture=catalogue.family_of("llama").scratch(12, 6, 2),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "llama", LLAMA, loud(LLAMA))
    return tmp_path / "llama"


def convert(*words):
    return main(["convert", *map(str, words)])


def content(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_in_and_out_again(folder, tmp_path, capsys):
    run, back = tmp_path / "run", tmp_path / "back"
    assert convert("import", f"--huggingface={folder}", f"--run={run}", "--step=7", "--tokens=2e3") == 0
    assert json.loads((run / "DONE").read_text())["tokens"] == 2000
    assert convert("export", f"--run={run}", "--step=7", f"--huggingface={back}") == 0
    assert content(back) == content(folder)
    assert (
        convert("export", f"--run={run}", "--step=7", f"--huggingface={tmp_path / 'maxtext'}", "--layout=maxtext") == 0
    )
    assert json.loads((tmp_path / "maxtext" / "maxtext.json").read_text())["decoder_block"] == "llama2"
    assert capsys.readouterr().err == ""


def test_the_old_flags_do_the_same_and_hint_at_the_new_ones(folder, tmp_path, capsys):
    run, back = f"--run={tmp_path / 'run'}", tmp_path / "back"
    assert convert(f"--huggingface={folder}", run) == 0
    assert capsys.readouterr().err == "hint: this is now written `convert import`\n"
    assert convert(f"--huggingface={back}", run, "--step=0") == 0
    assert capsys.readouterr().err == "hint: this is now written `convert export`\n"
    assert content(back) == content(folder)


def test_without_a_study_no_tokenizer_is_written_and_that_is_said(folder, tmp_path, capsys):
    files.write_json(
        tmp_path / "config.json", {"kind": "organism", "primary": "python", "new": "php", "world": SMALL_WORLD}
    )
    run = tmp_path / "seed0" / "continual"
    assert convert("import", f"--huggingface={folder}", f"--run={run}") == 0
    files.write_json(run / "config.json", {"config": {"seed": 0}, "material": "x"})  # as of a run that was trained
    words = [f"--run={run}", "--step=0"]
    assert (
        convert("export", *words, f"--huggingface={tmp_path / 'a'}") == 2
    )  # this model has 40 rows, the world 78 words
    assert "the tokenizer to be written has ids up to 77" in capsys.readouterr().err
    assert convert("export", *words, f"--huggingface={tmp_path / 'a'}", "--no_tokenizer") == 0
    (tmp_path / "config.json").unlink()
    assert convert("export", *words, f"--huggingface={tmp_path / 'b'}") == 0
    assert "lies in no study: no tokenizer is written" in capsys.readouterr().err
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(folder)


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "convert does `import` or `export`"),
        (("import", "--run=R"), "required: --huggingface"),
        (("export", "--run=R", "--huggingface=H"), "required: --step"),
        (("import", "--run=R", "--huggingface=H", "--tokens=-1"), "--tokens is -1; give a whole number"),
        (("export", "--run=R", "--huggingface=H", "--step=1", "--layout=jax"), "invalid choice: 'jax'"),
        (("export", "--run=R", "--huggingface=H", "--step=1", "--layout=maxtext", "--corpus=C"), "--corpus goes with"),
        (("export", "--run=R", "--huggingface=H", "--step=1", "--no_tokenizer", "--corpus=C"), "--corpus goes with"),
        (("import", "--run=R", "--huggingface=/nowhere/H"), "there is no config.json in /nowhere/H"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys):
    assert convert(*words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_a_model_that_maxtext_has_not_is_one_line(tmp_path, capsys):
    write_model(tmp_path / "gpt2", SMALL, loud(SMALL))
    run = f"--run={tmp_path / 'run'}"
    assert convert("import", run, f"--huggingface={tmp_path / 'gpt2'}") == 0
    assert convert("export", run, "--step=0", "--layout=maxtext", f"--huggingface={tmp_path / 'out'}") == 2
    assert "MaxText has no block such as this model's" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
