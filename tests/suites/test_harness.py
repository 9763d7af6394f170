"""The evaluation as a user runs it: completions of checkpoints, of files, reference solutions; files, resuming, refusals."""

import dataclasses
import json
import math
import shutil

import jax
import numpy as np
import pytest
from helpers import SMALL, SMALL_WORLD, loud, world_config

from babel_jax import __main__ as cli
from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.corpus import tokenizer as tokenizers
from babel_jax.measuring import programs, sampling, walk
from babel_jax.measuring.reading import subject_of
from babel_jax.organism import world, world_material
from babel_jax.study import texts
from babel_jax.suites import completions, harness, judge, results, suite_files
from babel_jax.training.checkpoint import Checkpoints, Metadata

PROMPT = 'def {name}(x):\n    """{text}"""\n'
TASKS = [("double", "Twice x.", "    return 2 * x\n", 4), ("next", "One more.", "    return x + 1\n", 3)]


def own_suite(path, tasks=TASKS):
    lines = [
        {
            "suite": "mine",
            "language": "python",
            "task_id": f"mine/{number}",
            "number": number,
            "prompt": PROMPT.format(name=name, text=text),
            "tests": f"assert {name}(2) == {result}\n",
            "entry_point": name,
            "solution": solution,
        }
        for number, (name, text, solution, result) in enumerate(tasks)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"own:{path}"


@pytest.fixture(scope="module")
def tokenizer():
    text = "".join(PROMPT.format(name=name, text=text) + solution for name, text, solution, _ in TASKS)
    return tokenizers.train([text * 20], 320)


def save_run(run_dir, config, steps=(0, 8)):
    checkpoints = Checkpoints(run_dir)
    for step in steps:
        about = Metadata(step, 10 * step, {}, config.to_json(), started=1.0, version="0")
        params = jax.device_put(loud(config, seed=step), jax.local_devices()[0])
        checkpoints.save({"params": params}, about)
    checkpoints.close()
    files.write_json(run_dir / "config.json", {"config": {"seed": 3}, "material": None})
    return run_dir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, tokenizer):
    config = dataclasses.replace(SMALL, vocab_size=tokenizer.vocab_size, max_length=64)
    return save_run(tmp_path_factory.mktemp("study") / "seed3" / "continual", config)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, ready):
    ready("python")  # or the tests are skipped
    bench = judge.Bench("rlimits", 2, tmp_path_factory.mktemp("tools"))
    yield bench
    bench.close()


def evaluate(run_dir, tokenizer, spec, out, bench, **options):
    suites = [suite_files.load(spec)]
    session = harness.Session(out, harness.Options(**options), bench)
    places = harness.evaluate_runs([run_dir], lambda run: (suites, completions.TextWriter(tokenizer)), (), session)
    return [(place.folder, place.suites) for place in places]


def solving(monkeypatch, tokenizer, spec, right):
    """The model writes the reference solution where `right(step, number)`, and nothing but spaces elsewhere."""
    suite = suite_files.load(spec)
    calls = []

    def write(subject, prompts, sampling, *, streams, **_):
        calls.append(len(prompts))
        by_stream = {completions.stream(problem): problem for problem in suite.problems}
        first = jax.tree.leaves(loud(subject.model, seed=0))[0]
        step = 0 if np.array_equal(jax.tree.leaves(subject.params)[0], first) else 8
        written = []
        for prompt, stream in zip(prompts, streams, strict=True):
            problem = by_stream[stream]
            text = problem.prompt + (problem.solution if right(step, problem.number) else "    return None\n")
            written.append([tokenizer.encode(text)[len(prompt) :]] * sampling.samples)
        return written

    monkeypatch.setattr(sampling, "write", write)
    return calls


def test_a_run_is_written_judged_and_scored(tmp_path, run_dir, tokenizer, bench, monkeypatch):
    spec = own_suite(tmp_path / "mine.jsonl")
    calls = solving(monkeypatch, tokenizer, spec, lambda step, number: step == 8 and number == 0)
    ((place, _),) = evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench)
    assert place == tmp_path / "out" / "seed3" / "continual"
    frame = measurements.read(place)
    score = frame[(frame["metric"] == "pass@1") & frame["options"].str.contains('"all"')].set_index("step")
    assert score["value"].to_dict() == {0: 0.0, 8: 0.5} and (score["n"] == 2).all() and (score["seed"] == 3).all()
    solved = frame[(frame["metric"] == "solved") & (frame["step"] == 8)].set_index("item")["value"]
    assert solved.to_dict() == {0: 1.0, 1: 0.0}
    verdicts = results.verdicts_of(place)
    assert [verdict.outcome for verdict in verdicts] == ["passed", "failed_assert"]
    about = json.loads((place / "about.json").read_text())
    assert about["suites"][0]["files"]["mine.jsonl"]["problems"] == 2 and len(about["texts"]) == 16
    assert "pass@1" in results.summary(place) and "50% passed" in results.summary(place)
    before = len(calls)
    assert evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench) and len(calls) == before  # nothing is done twice


def test_the_model_itself_writes_and_its_likelihood_is_measured(tmp_path, run_dir, tokenizer, bench):
    spec = own_suite(tmp_path / "mine.jsonl")
    ((place, _),) = evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench, likelihood=True, new_tokens=16)
    records = [json.loads(line) for line in (place / "completions" / "step_00000008.jsonl").read_text().splitlines()]
    assert {record["task_id"] for record in records} == {"mine/0", "mine/1"}
    assert all(record["ended"] in ("block", "length", "document_end") for record in records)
    frame = measurements.read(place)
    bits = frame[(frame["metric"] == "bits_per_byte") & (frame["language"] == "python")].set_index("step")["value"]
    assert (bits > 0).all() and bits[0] != bits[8]


def test_what_was_written_before_a_crash_stays(tmp_path, run_dir, tokenizer, bench, monkeypatch):
    spec = own_suite(tmp_path / "mine.jsonl")
    calls = solving(monkeypatch, tokenizer, spec, lambda step, number: True)
    whole = evaluate(run_dir, tokenizer, spec, tmp_path / "whole", bench)[0][0]
    place = tmp_path / "out" / "seed3" / "continual"
    (place / "completions").mkdir(parents=True)
    lines = (whole / "completions" / "step_00000000.jsonl").read_bytes().splitlines(keepends=True)
    (place / "completions" / "step_00000000.jsonl").write_bytes(lines[0] + lines[1][:20])
    del calls[:]
    assert evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench)[0][0] == place
    assert calls == [1, 2]  # one problem was missing at the first step
    for folder in ("completions", "verdicts"):
        names = [path.name for path in (whole / folder).iterdir()]
        assert len(names) == 2
    same = (place / "completions" / "step_00000000.jsonl").read_text().splitlines()
    assert sorted(same) == sorted(line.decode().strip() for line in lines)


def test_a_problem_keeps_all_its_samples_or_none(tmp_path, run_dir, tokenizer, bench, monkeypatch):
    """Killed in the middle of a problem's samples: it is written again."""
    spec = own_suite(tmp_path / "mine.jsonl")
    calls = solving(monkeypatch, tokenizer, spec, lambda step, number: True)
    sampling = dict(samples=3, temperature=1.0)
    whole = evaluate(run_dir, tokenizer, spec, tmp_path / "whole", bench, **sampling)[0][0]
    written = "completions/step_00000000.jsonl"
    lines = (whole / written).read_bytes().splitlines(keepends=True)
    place = tmp_path / "out" / "seed3" / "continual"
    (place / "completions").mkdir(parents=True)
    (place / written).write_bytes(b"".join(lines[:5]))
    del calls[:]
    evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench, **sampling)
    assert calls == [1, 2] and (place / written).read_bytes() == b"".join(lines)


def test_what_no_sandbox_is_needed_for_needs_none(tmp_path, run_dir, tokenizer):
    spec = own_suite(tmp_path / "mine.jsonl")
    ((place, _),) = evaluate(run_dir, tokenizer, spec, tmp_path / "out", None, samples=0, likelihood=True)
    assert {"bits_per_byte", "solution_bits"} == set(measurements.read(place)["metric"])


def test_prompts_that_fill_the_context_are_reported(tmp_path, run_dir, tokenizer, bench):
    spec = own_suite(tmp_path / "mine.jsonl", [("long", "word " * 80, "    return x\n", 2), TASKS[0]])
    ((place, _),) = evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench, likelihood=True, new_tokens=8)
    text = results.summary(place)
    assert "1 not written: the prompt fills the context" in text and "1 longer than the context" in text


def test_results_of_another_suite_or_other_options_are_refused(tmp_path, run_dir, tokenizer, bench, monkeypatch):
    spec = own_suite(tmp_path / "mine.jsonl")
    solving(monkeypatch, tokenizer, spec, lambda step, number: True)
    evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench)
    with pytest.raises(UserError, match=r"results of other options: new_tokens \(512\)"):
        evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench, new_tokens=5)
    about = tmp_path / "out" / "seed3" / "continual" / "about.json"
    files.write_json(about, files.read_json(about) | {"began": 0.5})
    with pytest.raises(UserError, match="results of other began"):  # a run that was trained anew
        evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench)
    files.write_json(about, files.read_json(about) | {"began": 1.0})
    with pytest.raises(UserError, match="its own measurements"):
        evaluate(run_dir, tokenizer, spec, run_dir.parent.parent, bench)
    with pytest.raises(UserError, match=r"the tokenizer has \d+ tokens and the model"):
        other = tokenizers.train(["def other(y): return y\n" * 20], 300)
        evaluate(run_dir, other, spec, tmp_path / "other", bench)
    with pytest.raises(UserError, match="greedy samples are all the same"):
        evaluate(run_dir, tokenizer, spec, tmp_path / "other", bench, samples=4)
    assert not (tmp_path / "other").exists()
    own_suite(tmp_path / "mine.jsonl", TASKS[:1])
    with pytest.raises(UserError, match="results of other suites"):
        evaluate(run_dir, tokenizer, spec, tmp_path / "out", bench)


def test_options_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match="pass@10 needs 10 samples"):
        harness.Options(k=(1, 10))
    for options, message in (
        ({"k": ()}, "no number of tries"),
        ({"k": (0, 1)}, "no number of tries"),
        ({"samples": 0}, "nothing is left to do"),
        ({"new_tokens": 0}, "at least 1"),
        ({"temperature": math.inf}, "at least 0"),
        ({"top_p": 0.0}, "in \\(0, 1]"),
        ({"compat": "mxevil"}, "did you mean 'mxeval'"),
        ({"variant": "raw+no_personas"}, "did you mean 'no_persona'"),
    ):
        with pytest.raises(UserError, match=message):
            harness.Options(**options)


def main(*arguments):
    return cli.main(["evaluate", "--sandbox=rlimits", *map(str, arguments)])


@pytest.mark.usefixtures("bench")  # Python is there
def test_the_verb_judges_solutions_and_completions_of_others(tmp_path, capsys):
    spec = own_suite(tmp_path / "mine.jsonl")
    assert main("--suite", spec, "--solutions", "--out", tmp_path / "solutions") == 0
    assert "pass@1           1.000" in capsys.readouterr().out
    records = [{"task_id": "mine/0", "completion": "    return 3\n"}, {"task_id": "mine/1", "completion": TASKS[1][2]}]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    more = ("--completions", tmp_path / "given.jsonl", "--out", tmp_path / "given", "--against", tmp_path / "solutions")
    assert main("--suite", spec, *more) == 0
    text = capsys.readouterr().out
    assert "pass@1           0.500" in text and "-0.500" in text and "McNemar p = 1" in text
    assert (tmp_path / "given" / "figures" / "mine.svg").exists()
    rows = json.loads((tmp_path / "given" / "against.json").read_text())["rows"]
    assert rows[0]["only_first"] == 1 and rows[0]["only_second"] == 0


@pytest.mark.usefixtures("bench")  # Python is there
def test_completions_of_some_problems_and_several_samples(tmp_path, capsys):
    spec = own_suite(tmp_path / "mine.jsonl")
    records = [{"task_id": "mine/0", "completion": f"    return {x} * x  # a\u2028b\n"} for x in (2, 3)]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    (tmp_path / "given.jsonl").write_text(lines)
    arguments = ("--suite", spec, "--completions", tmp_path / "given.jsonl", "--samples=2")
    assert main(*arguments, "--k=2", "--out", tmp_path / "two") == 0
    assert (tmp_path / "two" / "figures" / "mine.csv").read_text().splitlines()[1].startswith("pass@2,Python,0.0,1.0,")
    assert main(*arguments, "--k=1,2", "--out", tmp_path / "given") == 0
    text = capsys.readouterr().out
    assert "1 problems have no completion among given" in text
    assert "pass@1           0.500" in text and "pass@2           1.000" in text


def test_results_elsewhere_are_compared_as_far_as_they_go(tmp_path, run_dir, tokenizer, bench, monkeypatch):
    """Two suites in one place, one in the other; a folder of one place stands for it, a folder of two for none."""
    first, second = own_suite(tmp_path / "mine.jsonl"), own_suite(tmp_path / "second.jsonl", TASKS[:1])
    text = (tmp_path / "second.jsonl").read_text()
    (tmp_path / "second.jsonl").write_text(text.replace('"suite": "mine"', '"suite": "second"'))
    assert main("--suite", first, "--suite", second, "--solutions", "--out", tmp_path / "both") == 0
    about = json.loads((tmp_path / "both" / "about.json").read_text())
    assert [list(suite["files"]) for suite in about["suites"]] == [["mine.jsonl"], ["second.jsonl"]]
    assert main("--suite", first, "--solutions", "--out", tmp_path / "deep" / "seed0" / "one") == 0
    suites = [suite_files.load(first)]
    assert "McNemar p = 1" in results.compared(tmp_path / "deep" / "seed0" / "one", tmp_path / "both", suites)
    assert "McNemar p = 1" in results.compared(tmp_path / "deep" / "seed0" / "one", tmp_path / "deep", suites)
    both = [suite_files.load(spec) for spec in (first, second)]
    with pytest.raises(UserError, match="holds no verdicts on second python"):
        results.compared(tmp_path / "both", tmp_path / "deep", both)
    shutil.copytree(tmp_path / "deep" / "seed0" / "one", tmp_path / "deep" / "seed0" / "two")
    with pytest.raises(UserError, match="2 evaluations; name one of .*seed0/one, .*seed0/two"):
        results.compared(tmp_path / "both", tmp_path / "deep", both)
    with pytest.raises(UserError, match="0 evaluations; evaluate into it first"):
        results.compared(tmp_path / "both", tmp_path / "nowhere", both)
    text = results.knowledge(tmp_path / "both", tmp_path / "both", tmp_path / "both", suites, "python", "python")
    assert "knowledge_share    0.000" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"task_id": "mine/0", "completion": "", "suite": 3}', "line 1: 'suite' must be text, not 3"),
        ('{"task_id": "mine/0"}', "line 1: there is no 'completion'"),
        ('{"task_id": "mine/7", "completion": ""}', "mine/7 fits 0 problems"),
        ('{"task_id": "mine/0", "completion": "", "sample": 2}', "--samples=1"),
        ("not JSON", "line 1: not JSON (Expecting value"),
    ],
)
def test_completions_that_cannot_be_used_are_refused(tmp_path, line, message, capsys):
    spec = own_suite(tmp_path / "mine.jsonl")
    (tmp_path / "given.jsonl").write_text(line + "\n")
    assert main("--suite", spec, "--completions", tmp_path / "given.jsonl", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("error: ") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--primary_only=d"], "needs both models"),
        (["--primary_only=d", "--new_only=e"], "needs --languages=PRIMARY,NEW"),
        (["--languages=phq"], "did you mean 'php'"),
        (["--jobs=0"], "--jobs is 0; give a whole number of at least 1"),
        (["--sandbox=docker"], "unknown"),
        (["--compat=mxevil"], "unknown"),
        (["--k="], "--k is ''; give a whole number of at least 1"),
        (["--languages=python,php"], "hold no problem in php"),
        (["--likelihood"], "the likelihood is a model's"),
        (["--out=gs://bucket/out"], "is in a bucket"),
        (["--against=nowhere"], "holds the results of 0 evaluations"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(tmp_path, arguments, message, capsys):
    arguments = ["--suite", own_suite(tmp_path / "mine.jsonl"), "--solutions", *arguments]
    for option, value in (("--out", tmp_path / "out"), ("--sandbox", "rlimits")):
        if not any(str(argument).startswith(option) for argument in arguments):
            arguments.append(f"{option}={value}")
    assert cli.main(["evaluate", *map(str, arguments)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_suite_is_named_once(tmp_path, capsys):
    spec = own_suite(tmp_path / "mine.jsonl")
    assert main("--suite", spec, "--suite", spec, "--solutions", "--out", tmp_path / "out") == 2
    assert "mine python mine/0 stands in" in capsys.readouterr().err


def test_the_share_of_the_primarys_knowledge(tmp_path, run_dir, tokenizer, bench, monkeypatch):
    """Task 0 needs what only the primary-only model knows; the model solves both tasks at its last step."""
    spec = own_suite(tmp_path / "mine.jsonl")
    places = {}
    for name, right in (("primary", {0, 1}), ("new", {1}), ("both", {0, 1})):
        solving(monkeypatch, tokenizer, spec, lambda step, number, right=right: step == 8 and number in right)
        ((places[name], suites),) = evaluate(run_dir, tokenizer, spec, tmp_path / name, bench)
    (places["both"] / "verdicts" / "step_00000004.jsonl").write_text("")  # judging of it was broken off
    text = results.knowledge(places["both"], places["primary"], places["new"], suites, "python", "python")
    frame = measurements.read(places["both"])
    share = frame[frame["metric"] == "knowledge_share"].set_index("step")
    assert np.isnan(share["value"][0]) and share["value"][8] == 0.5 and share["n"][8] == 2
    assert "knowledge_share" in text


def test_a_machine_that_fails_is_reported_and_loses_nothing(tmp_path, bench, monkeypatch, capsys):
    spec = own_suite(tmp_path / "mine.jsonl")
    suites = [suite_files.load(spec)]
    solutions = harness.solutions(suites, "raw")
    bench.ready(["python"])
    whole = bench.toolchains["python"].execute
    calls = []

    def execute(sandbox, code, *conditions):
        calls.append(1)
        if "double" in code.body:
            raise FileNotFoundError("python3 is gone")
        return whole(sandbox, code, *conditions)

    monkeypatch.setattr(bench.toolchains["python"], "execute", execute)
    with pytest.raises(UserError, match=r"1 of 2 programs could not be judged \(.*python3 is gone"):
        harness.evaluate_completions(suites, solutions, harness.Session(tmp_path / "out", harness.Options(), bench))
    text = capsys.readouterr().out
    assert text.startswith("incomplete: ") and "1.000" in text and "n=1 " in text  # the scores of what was judged
    assert not (tmp_path / "out" / "measurements").exists()
    monkeypatch.undo()
    harness.evaluate_completions(suites, solutions, harness.Session(tmp_path / "out", harness.Options(), bench))
    assert {verdict.outcome for verdict in results.verdicts_of(tmp_path / "out")} == {"passed"}


def test_the_worlds_problems_run_as_every_suites_do(tmp_path, bench):
    """A model of the embedded world, asked through the sandbox, scores what the world's interpreter says."""
    if shutil.which("php", path="/usr/bin:/usr/local/bin") is None:
        pytest.skip("PHP: 'php' is not installed, so PHP's programs were not run")
    embedded = world.World(world_config(), 0)
    material = world_material.materials(world_config(), 0)["php"]
    config = dataclasses.replace(SMALL, vocab_size=material.vocab_size, frozen_rows=material.frozen_rows)
    run = save_run(tmp_path / "seed0" / "continual", config, steps=(0,))
    study = {"kind": "organism", "primary": "python", "new": "php", "world": SMALL_WORLD}
    files.write_json(tmp_path / "config.json", study)
    files.write_json(run / "config.json", {"config": {"seed": 0}, "material": None})
    read = texts.SuiteTexts(("world",), ("php",))
    (place,) = harness.evaluate_runs([run], read, (), harness.Session(tmp_path / "out", harness.Options(), bench))
    subject = subject_of(walk.restored(next(walk.checkpoints(walk.OwnRun(run)))).params, config, material)
    truth = material.problems.judge("php", programs.completions(subject, material.problems, "php"))
    verdicts = results.verdicts_of(place.folder)
    assert [verdict.outcome == "passed" for verdict in verdicts] == truth.tolist()
    assert embedded.languages == ("python", "php") and len(verdicts) == len(truth)
