"""What users give, bent: names, paths, numbers, JSON and texts that mean harm or are broken. An error is one printable line."""

import gzip
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from helpers import ROOT

from babel_jax.__main__ import main
from babel_jax.cli.output import OneLine
from babel_jax.cli.settings import load_config
from babel_jax.common import errors, files, machine
from babel_jax.common.errors import UserError, refusal
from babel_jax.corpus.readers.unpacking import Bomb
from babel_jax.model import huggingface
from babel_jax.probes import prompts
from babel_jax.study import plan
from babel_jax.suites import harness, suite_files
from babel_jax.suites.completions import Completion
from babel_jax.training.checkpoint import Unreadable

TINY = f"--config={ROOT / 'configs' / 'organism.py:tiny'}"
OWN = dict(suite="mine", language="python", task_id="a", number=1, prompt="def f():\n", tests="assert f()\n")
ESCAPES = "a\nb\r\x1b[31mred\x07\x9b2J\u202eabc\u2028\udcff\0"


def refused(capsys, *arguments) -> str:
    """The one line that a command ends with."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    line = printed.err.removesuffix("\n")
    assert line.startswith("error: ") and line.isprintable() and not printed.out
    return line


def suite(tmp_path, *records) -> str:
    (tmp_path / "suite.jsonl").write_text("".join(json.dumps(OWN | record) + "\n" for record in records or [{}]))
    return f"--suite=own:{tmp_path / 'suite.jsonl'}"


# --- one line -------------------------------------------------------------------------------------------------------------


def test_an_error_is_one_printable_line_whatever_it_quotes():
    error = UserError(f"no file {ESCAPES}; check é, 漢 and 🙂.")
    assert str(error) == (r"no file a\nb\r\x1b[31mred\x07\x9b2J\u202eabc\u2028\udcff\x00; check é, 漢 and 🙂.")
    long = str(UserError("begin " + "x" * 10**6 + " end"))
    assert len(long) <= errors.LONGEST_MESSAGE and long.startswith("begin ") and long.endswith(" end")
    assert str(errors.unknown_name("key", "x" * 10**6, ["y"])).count("x") <= errors.LONGEST_NAME


def test_what_is_quoted_is_short_and_in_one_line():
    class Broken:
        def __repr__(self):
            raise KeyError

    assert (errors.quoted({"a": 1}), errors.quoted(None), errors.quoted(True)) == ("an object", "null", "true")
    assert (errors.shown({"a": 1}), errors.shown(None), errors.shown((0, 0))) == ("{'a': 1}", "None", "(0, 0)")
    for value in ("x" * 10**6, [[["\n"] * 99] * 99] * 99, Broken(), 10**5000):
        assert len(errors.shown(value)) <= errors.LONGEST_NAME and "\n" not in errors.shown(value)
    told = errors.one_line(ValueError("two\nlines \x1b " + "x" * 1000))
    assert told.startswith("two lines \\x1b xx") and len(told) == errors.LONGEST_REASON
    assert (errors.one_line(ValueError()), errors.one_line("a\nb")) == ("ValueError", "a b")
    assert [errors.written(bound) for bound in (1000, 1e6, 0.5, 10**18, 1e-20)] == [
        "1000",
        "1000000",
        "0.5",
        "1e+18",
        "1e-20",
    ]


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


def test_a_worker_tells_what_the_system_says_as_the_first_process_does():
    def deny(task, say):
        raise PermissionError(13, "Permission denied", "/data/x")

    def fail(task, say):
        raise ValueError("a bug")

    kind, error = machine._answer(deny, "a task", print)
    assert kind == "failed" and isinstance(error, UserError) and str(error).startswith("/data/x: Permission denied")
    kind, error = machine._answer(fail, "a task", print)
    assert kind == "failed" and isinstance(error, RuntimeError) and "a task:\nTraceback" in str(error)


@pytest.mark.parametrize("error", [Unreadable("checkpoint 3 is torn.", "torn"), Bomb("x.gz"), UserError(ESCAPES)])
def test_a_worker_process_sends_an_error_as_it_is(error):
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is UserError and str(found) == str(error)


def test_the_log_is_printable():
    import logging

    record = logging.LogRecord("babel_jax.x", logging.WARNING, "", 0, "bad %s", (ESCAPES,), None)
    assert OneLine().format(record).isprintable()


@pytest.mark.parametrize(
    "command, status",
    [
        ("PYTHONIOENCODING=ascii {} --help", 0),
        ("PYTHONIOENCODING=latin-1 {} Ω", 2),
        ("{} --help >&-", 0),
        ("{} --help 2>&- <&-", 0),
        ("{} --help > /dev/full", 2),
    ],
)
def test_outputs_that_are_narrow_closed_or_full(command, status):
    shell = command.format(f"{sys.executable} -m babel_jax")
    done = subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and "Traceback" not in done.stderr
    assert done.stderr.count("\n") == (status == 2)


# --- names and paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../x", "a/b", "/a", "a\0b", "a\nb", "\udcff", "x" * 200, 3, None]
)
def test_a_name_that_leads_elsewhere_or_cannot_be_shown_is_refused(name):
    with pytest.raises(UserError, match="the suite is .*as the name of a file"):
        files.safe_name(name, "the suite")
    assert files.safe_name("HumanEval.v2 é", "the suite") == "HumanEval.v2 é"


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
        huggingface.read_huggingface(tmp_path / "hf")


@pytest.mark.parametrize(
    "place, message",
    [
        ("", "a path is empty"),
        ("a\0b", r"a\\x00b holds a NUL"),
        ("\udcff", "not UTF-8"),
        ("x" * 300, "is too long"),
        ("é" * 128, "is too long"),
        ("x/" * 2100, "is too long"),
        ("http://x/y", "cannot work in"),
        ("gs://", "cannot work in"),
    ],
)
def test_a_path_that_can_be_none(place, message):
    with pytest.raises(UserError, match=message) as error:
        files.path(place)
    assert len(str(error.value)) < 500


def odd_places(folder):
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    (folder / "file").write_text("x")
    return ["pipe", "loop", "broken", "file/inside", "missing", ".", "/dev/null"]


def test_only_plain_files_are_read_and_written(tmp_path):
    for name in odd_places(tmp_path):
        with pytest.raises(UserError, match="cannot read .*; check the path"):
            files.read_bytes(tmp_path / name)
    for name in ("pipe", "."):
        with pytest.raises(UserError, match="cannot write .*; name a file"):
            files.write_atomic(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo(), "a pipe or a device is not replaced by a file"


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

BENT = {
    "[" * 100_000: "too many brackets",
    '{"a":' * 100_000: "too many brackets",
    '{"a": ' + "9" * 400 + "}": "a whole number of 400 digits",
    '{"a": ' + "9" * 5000 + "}": "a whole number of 5000 digits",
    '{"a": 1e999}': "1e999 is too large",
    '{"a": NaN}': "NaN is not a number",
    '{"a": -Infinity}': "-Infinity is not a number",
    '{"a": 1, "a": 2}': "the key 'a' is there twice",
    '{"a": 1': "Expecting",
    "": "Expecting value",
}


@pytest.mark.parametrize("text", BENT, ids=lambda text: text[:12])
def test_json_that_no_program_can_rely_on(tmp_path, text):
    with pytest.raises(ValueError, match=BENT[text]) as error:
        files.parse_json(text)
    assert len(str(error.value)) < 100
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=f"cannot read .*a.json as JSON .*{BENT[text]}"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text, said", [("[]", "a list"), ("null", "null"), ("3", "3"), ('"x"', "'x'"), ("true", "true")]
)
def test_json_of_another_shape(tmp_path, text, said):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"config.json is damaged, or not what should stand there: it is {said}"):
        huggingface.read_huggingface(tmp_path)
    hint = "mend it."
    with pytest.raises(UserError, match=f"^f, line 2: {said} is not a JSON object; mend it"):
        list(files.json_lines(f"{{}}\n{text}\n".encode(), "f", hint))


def test_lines_of_json_in_every_coat(tmp_path):
    lines = '\ufeff{"a": 1}\r\n\r\n \t\n\ufeff{"a": "\u2028\\u0000"}'
    wanted = [(1, {"a": 1}), (4, {"a": "\u2028\0"})]
    for content in (lines.encode(), gzip.compress(lines.encode())):
        assert list(files.json_lines(content, "f", "mend it.")) == wanted
    for content, message in {
        '{"a": 1}\n{"a"': r"^f, line 2: not JSON \(.*\) \(the file ends here: was it cut off\?\); mend it",
        '{"a": "\\ud800"}': r"line 1: not JSON \(it holds half a character, \\ud800\)",
        "{}\n\0": "line 2: not JSON",
    }.items():
        with pytest.raises(UserError, match=message):
            list(files.json_lines(content.encode(), "f", "mend it."))
    for content, message in {
        "{}".encode("utf-16"): "it is UTF-16; save it as UTF-8",
        b"{}\xff": "its byte 3 is not UTF-8",
        gzip.compress(b"{}" * 99)[:-9]: "cannot read f",
        b"\x1f\x8b": "cannot read f",
    }.items():
        with pytest.raises(UserError, match=message):
            list(files.json_lines(content, "f", "mend it."))


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
    config = dict(vocab_size=8, n_embd=8, n_layer=1, n_head=2, n_positions=8)
    with pytest.raises(UserError, match=message):
        huggingface.from_gpt2({}, config | change)


# --- arguments ------------------------------------------------------------------------------------------------------------

SUITE = ["evaluate", "--suite=own:S", "--out=O"]
PROBE = ["probe", "--checkpoints=R", "--out=O"]
MIX = ["corpus", "mix", "C", "--policy=tokens"]
TABLE = ["optimize", "--csv=F", "--primary=python"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["study", TINY, "--workdir=W", "--jobs=1000000"], "--jobs is 1000000; give at most"),
        (["study", TINY, "--workdir=W", "--jobs=-1"], "--jobs is -1; give a whole number of at least 1"),
        (["study", TINY, "--workdir=W", f"--jobs={'9' * 5000}"], "give at most"),
        (["corpus", "build", "--source=python=S", "--out=C", "--jobs=1000000"], "--jobs is 1000000; give at most"),
        (["corpus", "build", "--source=python=S", "--out=C", "--phase=clean", "--shard=1_0/2/"], "write it as I/N"),
        (
            ["train", TINY, "--workdir=W", "--run=continual", "--seed=-1"],
            "--seed is -1; give a whole number of at least 0",
        ),
        (["train", TINY, "--workdir=W", "--run=continual", "--seed=4294967296"], "--seed is 4294967296; give at most"),
        (["train", TINY, "--workdir=W", "--run=continual", "--processes=0"], "--processes is 0; give a whole number"),
        ([*SUITE, "--checkpoints=R", "--samples=-1"], "--samples is -1; give a whole number of at least 0"),
        ([*SUITE, "--checkpoints=R", "--samples=1.5"], "--samples is '1.5'; give a whole number"),
        ([*SUITE, "--checkpoints=R", "--temperature=nan"], "--temperature is nan; give a number of at least 0"),
        ([*SUITE, "--checkpoints=R", "--temperature=inf"], "--temperature is inf; give at most 100"),
        ([*SUITE, "--checkpoints=R", "--temperature=1", "--top_p=0"], "--top_p is 0; give a number above 0"),
        ([*SUITE, "--checkpoints=R", "--temperature=1", "--top_p=1.1"], "--top_p is 1.1; give at most 1"),
        ([*SUITE, "--checkpoints=R", "--new_tokens=0"], "--new_tokens is 0"),
        ([*SUITE, "--checkpoints=R", "--k=0"], "--k is 0; give a whole number of at least 1"),
        ([*SUITE, "--checkpoints=R", "--k=1,,2"], "--k is ''; give a whole number"),
        ([*SUITE, "--checkpoints=R", "--steps=first"], "write several with commas: 2,3, or last"),
        ([*PROBE, "--steps=-640"], "--steps is -640; give a whole number of at least 0"),
        ([*PROBE, "--layers=outer"], "--layers is 'outer'"),
        ([*PROBE, "--tuned_lens=-1"], "--tuned_lens is -1"),
        ([*PROBE, "--corpus=C", "--languages=,"], "--languages names nothing"),
        ([*PROBE, "--corpus=C", "--rows=0"], "--rows is 0; give a whole number of at least 1"),
        ([*PROBE, "--prompts=P", "--prompt_tokens=0"], "--prompt_tokens is 0"),
        (["convert", "--huggingface=H", "--run=R", "--step=1e3"], "--step is '1e3'; give a whole number"),
        ([*MIX, "--tokens=1.5"], "--tokens is 1.5; give a whole number of at least 1"),
        ([*MIX, "--tokens=1e308"], "--tokens is 1e308; give at most 1e+18"),
        ([*MIX, "--tokens=nan"], "--tokens is nan; give a whole number"),
        ([*TABLE, "--original=python=1e308,php=1e308"], "--original has 'python=1e308'; write NAME=TOKENS"),
        ([*TABLE, "--original=python=nan"], "--original has 'python=nan'"),
        ([*TABLE, "--original=python=1", "--budget=inf"], "--budget is inf; give at most"),
        ([*TABLE, "--original=python=1", "--min_share=2"], "--min_share is 2; give at most 1"),
        ([*TABLE, "--original=python=1", "--max_epochs=-1"], "--max_epochs is -1"),
        # none of them is ignored in silence
        ([*SUITE, "--completions=F", "--corpus=NONSENSE"], "--corpus goes with --checkpoints; leave it out"),
        ([*SUITE, "--completions=F", "--temperature=1"], "--temperature goes with --checkpoints"),
        ([*SUITE, "--completions=F", "--steps=last"], "--steps goes with --checkpoints"),
        ([*SUITE, "--solutions", "--samples=2"], "--samples goes with --checkpoints or --completions"),
        ([*SUITE, "--checkpoints=R", "--top_p=0.9"], "--top_p goes with --temperature"),
        ([*SUITE, "--checkpoints=R", "--samples=0", "--likelihood", "--k=2"], "--k goes with completions to judge"),
        ([*PROBE, "--corpus=C", "--seed=1"], "--seed goes with the texts of a study"),
        ([*PROBE, "--rows=9"], "--rows goes with --corpus"),
        ([*PROBE, "--prompt_tokens=9"], "--prompt_tokens goes with --corpus or --prompts"),
        ([*PROBE, "--random_sets=30"], "--random_sets goes with --interventions"),
        (
            ["corpus", "build", "--source=python=S", "--out=C", "--phase=start", "--shard=0/2"],
            "--shard goes with a phase",
        ),
        (["corpus", "build", "--source=python=S", "--out=C", "--beam", "--jobs=2"], "--jobs goes with a build on this"),
        # nor taken for another one
        (["convert", "--huggingface=--", "--run=R"], "--huggingface is '--'; give it a value"),
        (["convert", "--huggingface=", "--run=R"], "--huggingface is empty; name a file or a folder"),
        (["convert", "--huggingface=H", "--run=R", "--run=Q"], "--run is given twice"),
        ([*PROBE, "--checkpoints=Q"], "--checkpoints is given twice"),
        ([*SUITE, "--checkpoints=R", "--variant="], "--variant is empty; give a value, or leave it out"),
        (["corpus", "stats", ""], "corpus is empty; name a file or a folder"),
        (["corpus", "stats", "gs://bucket/corpus"], "is in a bucket"),
    ],
)
def test_an_argument_says_what_it_takes(capsys, arguments, message):
    assert message in refused(capsys, *arguments)


def test_arguments_are_read_as_they_are_meant():
    from babel_jax.cli import kinds

    assert kinds.count(1, 10**18)("2e9") == 2 * 10**9 and isinstance(kinds.count(1, 10**18)("2e9"), int)
    assert kinds.integers(0, "last")("640,0,640") == (640, 0) and kinds.integers(0, "last")("last") == "last"
    assert kinds.names(" php, go,php") == ("php", "go")
    assert kinds.place("~/x") == os.path.expanduser("~/x") and kinds.place("gs://b/x") == "gs://b/x"


def test_a_suite_without_solutions_says_so(capsys, tmp_path):
    line = refused(capsys, "evaluate", suite(tmp_path), "--solutions", "--sandbox=rlimits", f"--out={tmp_path / 'out'}")
    assert line.startswith(
        "error: --solutions needs reference solutions, and mine comes without them; give --completions"
    )
    assert not (tmp_path / "out").exists()
