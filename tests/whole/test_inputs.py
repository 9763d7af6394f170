"""What users give, bent: names, paths, numbers, JSON and texts that mean harm or are broken. An error is one printable line."""

import json

import numpy as np
import pytest
import safetensors.numpy
from helpers import ROOT
from helpers.commands import ESCAPES, odd_places, refused

from babel_jax.cli.settings import load_config
from babel_jax.common import files
from babel_jax.common.errors import UserError, refusal
from babel_jax.model import huggingface, model_folders
from babel_jax.probes import prompts
from babel_jax.study import plan
from babel_jax.suites import harness, suite_files
from babel_jax.suites.completions import Completion

TINY = f"--config={ROOT / 'configs' / 'organism.py:tiny'}"
OWN = dict(suite="mine", language="python", task_id="a", number=1, prompt="def f():\n", tests="assert f()\n")


def suite(tmp_path, *records) -> str:
    (tmp_path / "suite.jsonl").write_text("".join(json.dumps(OWN | record) + "\n" for record in records or [{}]))
    return f"--suite=own:{tmp_path / 'suite.jsonl'}"


# --- one line -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [ESCAPES],
        ["study", f"--jobs={ESCAPES}"],
        ["study", TINY, f"--workdir={ESCAPES}"],
        ["report", f"--{ESCAPES}"],
        ["convert", f"--huggingface=/nowhere/{ESCAPES}", "--run=/nowhere/r"],
        ["evaluate", f"--suite={ESCAPES}", "--solutions", "--out=/nowhere/o"],
        ["corpus", "mix", "C", f"--policy={ESCAPES}", "--tokens=1"],
        ["corpus", "build", f"--source={ESCAPES}=a", "--out=/nowhere/c"],
        ["optimize", "--csv=F", f"--primary={ESCAPES}", "--original=p=1"],
        ["probe", "--checkpoints", ESCAPES, "--out=/nowhere/o"],
    ],
)
def test_arguments_reach_the_terminal_as_escapes(capsys, arguments):
    assert refused(capsys, *arguments)


def test_what_the_system_says_is_an_error_of_the_file(capsys, monkeypatch, tmp_path):
    def deny(path):
        raise PermissionError(13, "Permission denied", f"{tmp_path}/a\nb")

    monkeypatch.setattr("babel_jax.report.build", deny)
    assert refused(capsys, "report", f"--workdir={tmp_path}") == (
        f"error: {tmp_path}/a\\nb: Permission denied; mend the path, its permissions or the disk, and run again."
    )
    assert "No space left" in str(refusal(OSError(28, "No space left on device")))
    assert "too little memory (8 GiB" in str(refusal(MemoryError("8 GiB\nwere asked for")))
    assert refusal(ConnectionError("a bug")) is None and refusal(ValueError("a bug")) is None


# --- names and paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../evil", "/evil", "..", "a/b", "", "a\x1b[2Jb", "x" * 300])
def test_a_suite_stays_in_its_folder(capsys, tmp_path, name):
    out = tmp_path / "a" / "b" / "out"
    line = refused(
        capsys, "evaluate", suite(tmp_path, {"suite": name}), "--solutions", "--sandbox=rlimits", f"--out={out}"
    )
    assert "suite.jsonl, line 1: 'suite' is" in line
    assert [entry.name for entry in tmp_path.iterdir()] == ["suite.jsonl"]


def test_a_run_stays_in_its_folder(capsys, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"stages": [{"tokens": 0, "weights": {"python": 1.0}}], "steps": 1}))
    workdir = tmp_path / "a" / "W"
    line = refused(capsys, "train", TINY, f"--workdir={workdir}", "--run=mix_../../../x")
    assert "the run's name is 'mix_../../../x'" in line and not workdir.exists()
    with pytest.raises(UserError, match="the run's name"):
        plan.Study(load_config(str(ROOT / "configs" / "organism.py:tiny"), [])).name("mix_0.5\n")


@pytest.mark.parametrize("part", ["../other/model.safetensors", "/etc/passwd", "..", 3, None, ["a"]])
def test_a_model_is_read_from_its_folder_alone(tmp_path, part):
    config = dict(model_type="gpt2", vocab_size=8, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    (tmp_path / "hf").mkdir()
    (tmp_path / "other").mkdir()
    safetensors.numpy.save_file({"x": np.zeros(2, np.float32)}, tmp_path / "other" / "model.safetensors")
    (tmp_path / "hf" / "config.json").write_text(json.dumps(config))
    (tmp_path / "hf" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"wte.weight": part}}))
    with pytest.raises(UserError, match="a file of 'wte.weight' is .*as the name of a file"):
        model_folders.read_model(tmp_path / "hf")


@pytest.mark.parametrize("arguments", [
    ["convert", "--huggingface={}", "--run=R"],
    ["evaluate", "--suite=own:{}", "--solutions", "--sandbox=rlimits", "--out=O"],
    ["evaluate", "--suite=own:suite.jsonl", "--completions={}", "--sandbox=rlimits", "--out=O"],
    ["optimize", "--csv={}", "--primary=python", "--original=python=1,php=1"],
    ["corpus", "mix", "{}", "--policy=tokens", "--tokens=9"],
    ["corpus", "build", "--source=python={}", "--out=C"],
    ["train", TINY, "--workdir=W", "--run=mix", "--mixture={}"],
])  # fmt: skip
def test_every_path_may_be_anything(capsys, monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    suite(tmp_path)
    for place in [*odd_places(tmp_path), "x" * 300, "--", "", "\udcff", "zzz://x", "~nobody_here/x"]:
        refused(capsys, *(argument.format(place) for argument in arguments))


# --- JSON -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, said", [("[]", "a list"), ("null", "null"), ("3", "3"), ('"x"', "'x'"), ("true", "true")]
)
def test_json_of_another_shape(tmp_path, text, said):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"config.json is damaged, or not what should stand there: it is {said}"):
        model_folders.read_model(tmp_path)
    hint = "mend it."
    with pytest.raises(UserError, match=f"^f, line 2: {said} is not a JSON object; mend it"):
        list(files.json_lines(f"{{}}\n{text}\n".encode(), "f", hint))


@pytest.mark.parametrize(
    "record, message",
    [
        ({"number": 10**25}, "a whole number of 26 digits"),
        ({"number": 2**31}, "the number of the task is 2147483648"),
        ({"number": -1}, "the number of the task is -1"),
        ({"task_id": ""}, "'task_id' must have 1 to 500 characters"),
        ({"task_id": "x" * 501}, "'task_id' must have 1 to 500 characters"),
        ({"prompt": []}, "'prompt' must be a string, not a list"),
        ({"prompt": {"a": [1]}}, "'prompt' must be a string, not an object"),
        ({"solution": "\ud800"}, "half a character"),
    ],
)
def test_a_problem_is_of_the_right_shape(tmp_path, record, message):
    suite(tmp_path, record)
    with pytest.raises(UserError, match=rf"suite\.jsonl, line 1: .*{message}"):
        suite_files.load(f"own:{tmp_path}")


@pytest.mark.parametrize(
    "numbers, wanted, message",
    [
        ([0, 0], 2, "has two completions with sample 0; with --samples=2 they are numbered from 0 to 1"),
        ([1, 2], 2, "has no completion with sample 0; with --samples=2"),
        ([0, 2], 2, "has no completion with sample 1; with --samples=2"),
        ([0, 1, 2], 2, "has 3 completions and --samples=2; give as many of every problem, or another --samples"),
        ([None], 2, "has 1 completions and --samples=2"),
        ([0, None], 2, "has completions with a 'sample' and without; number all of them, or none"),
        (["0", 1], 2, "line 1: 'sample' must be a number from 0 on, not '0'"),
        ([0, True], 2, "line 2: 'sample' must be a number from 0 on, not true"),
        ([0, 1.0], 2, "line 2: 'sample' must be a number from 0 on, not 1.0"),
        ([-1, 0], 2, "line 1: 'sample' must be a number from 0 on, not -1"),
        ([0, [1]], 2, "line 2: 'sample' must be a number from 0 on, not a list"),
    ],
)
def test_the_completions_of_a_problem_are_numbered(tmp_path, numbers, wanted, message):
    file = tmp_path / "given.jsonl"
    records = [{"task_id": "a", "completion": ""} | ({} if n is None else {"sample": n}) for n in numbers]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    suite(tmp_path)
    asked = suite_files.load(f"own:{tmp_path / 'suite.jsonl'}").problems
    with pytest.raises(UserError, match=message):
        harness.samples_of(asked, harness.read_completions(file, "given").completions, harness.Options(samples=wanted))


def test_completions_are_told_apart_by_what_they_say(tmp_path):
    suite(tmp_path, {}, {"suite": "other"}, {"task_id": "b"})
    asked = suite_files.load(f"own:{tmp_path / 'suite.jsonl'}").problems
    given, options = [Completion("a", "x", suite="other"), Completion("b", "", language="python")], harness.Options()
    assert [sample.problem.suite for sample in harness.samples_of(asked, given, options)] == ["other", "mine"]
    with pytest.raises(UserError, match="the completion of a fits 2 problems; give its"):
        harness.samples_of(asked, [Completion("a", "x")], options)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no completion; each line is"):
        harness.read_completions(tmp_path / "empty.jsonl", "given")


def test_prompts_of_another_shape(tmp_path):
    file = tmp_path / "prompts.jsonl"
    good = {"language": "php", "tokens": [1, 2], "primary": 3, "new": 4}
    for bad, message in (
        (good | {"language": ["php"]}, "language a list is not"),
        ([good], "a list is not a JSON object"),
    ):
        file.write_text(f"\n{json.dumps(bad)}\n")
        with pytest.raises(UserError, match=rf"prompts\.jsonl, line 2: {message}"):
            prompts.read_prompts(file, ("python", "php"), None, 48, 12)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n_layer": 10**9}, "n_layer = 1000000000; check config.json: it is a whole number from 1 to 10000"),
        ({"n_embd": True}, "n_embd = true; check config.json: it is a whole number"),
        ({"n_head": 0}, "n_head = 0"),
        ({"n_inner": "x"}, "n_inner = 'x'"),
        ({"tie_word_embeddings": "no"}, "= 'no'; set it to true or false"),
        ({"activation_function": ["gelu"]}, "activation_function = a list"),
    ],
)
def test_a_models_config_is_of_the_right_shape(change, message):
    config = dict(model_type="gpt2", vocab_size=8, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    with pytest.raises(UserError, match=message):
        huggingface.from_huggingface({}, config | change)


def test_a_suite_without_solutions_says_so(capsys, tmp_path):
    line = refused(capsys, "evaluate", suite(tmp_path), "--solutions", "--sandbox=rlimits", f"--out={tmp_path / 'out'}")
    assert line.startswith(
        "error: --solutions needs reference solutions, and mine comes without them; give --completions"
    )
    assert not (tmp_path / "out").exists()
