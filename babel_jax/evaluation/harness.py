"""The evaluation of checkpoints, of completions made elsewhere and of reference solutions: write, judge, score.

A place (`out/<seed>/<run>/`, or `out` itself where completions are given) holds `about.json` (the problems' files with
hashes and licences, the options), and for each checkpoint `completions/step_*.jsonl`, `verdicts/step_*.jsonl` and
`measurements/step_*.parquet` (in `incomplete/` where the machine failed at some programs). What is written or judged is
not done again; results of other files or options are refused.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable

from babel_jax import files, measurements
from babel_jax.errors import UserError, one_line, quoted
from babel_jax.evaluation import judge, results, scores, toolchains
from babel_jax.evaluation.problems import Problem, Suite, asked_in, reference
from babel_jax.evaluation.sandbox import open_sandbox
from babel_jax.evaluation.writers import Options
from babel_jax.measuring import probe as sweep
from babel_jax.training import hosts, preemption, runs
from babel_jax.training.checkpoint import Checkpoints


class Bench:
    """What judges: one sandbox, and toolchains that are found and made ready when their language is first asked for."""

    def __init__(self, least: str, jobs: int, cache):
        if jobs < 1:
            raise UserError(f"--jobs is {jobs}; give at least 1.")
        self.jobs = jobs
        with contextlib.ExitStack() as stack:
            self.sandbox = stack.enter_context(open_sandbox(least, workers=jobs))
            self.cache = stack.enter_context(self.sandbox.reachable(cache))
            self._opened = stack.pop_all()
        self.toolchains: dict[str, toolchains.Toolchain] = {}

    def ready(self, languages) -> None:
        """Finds the toolchains of these languages, before anything is written for nothing."""
        for language in sorted(set(languages) - set(self.toolchains)):
            toolchain = toolchains.find(language)
            toolchain.prepare(self.cache)
            self.toolchains[language] = toolchain

    def close(self) -> None:
        self._opened.close()


def evaluate_runs(
    run_dirs,
    texts: Callable,
    out,
    options: Options,
    steps,
    bench: Bench | None,
    progress: Callable = lambda message: None,
) -> list:
    """Writes, judges and scores at every chosen checkpoint of every run; returns [(its place below `out`, its suites)].

    Args:
      run_dirs: from `sweep.run_directories`.
      texts: run directory -> (suites, the writer of its completions).
      steps: which checkpoints; () for all, (-1,) for the last.
      bench: on the first host; None on the others, which only help to write, and where nothing is to be judged.

    Raises:
      UserError: a run without checkpoints, options that its writer cannot follow, a place with results of something else, ….
    """
    if options.samples > 1 and not options.temperature:
        raise UserError(f"{options.samples} greedy samples are all the same; add --temperature, such as 0.8.")
    places = {}
    for run_dir in run_dirs:
        place = files.path(out) / run_dir.parent.name / run_dir.name
        if place in places:
            raise UserError(f"two runs are called {place.parent.name}/{place.name}; evaluate them into two folders.")
        if place == run_dir:
            raise UserError(f"--out={out} is where {run_dir} keeps its own measurements; give another folder.")
        suites, writer = texts(run_dir)
        places[place] = suites
        if options.likelihood:
            _need_solutions(suites, "--likelihood", "leave it out")
        if bench:
            bench.ready(problem.language for problem in asked_in(suites))
        with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
            wanted = sweep.wanted_steps(checkpoints.steps(), steps, run_dir, more_to_come=False)
            if not wanted:
                raise UserError(f"{run_dir} has no finished checkpoint; train the run first.")
            metadata = checkpoints.metadata(wanted[0])
            writer.check(options, sweep.stored_model(metadata))
            # When a run began tells it from another one of its name.
            about = {"run": run_dir.name, "began": metadata.started}
            with work_in(place, suites, options, about | {"texts": writer.fingerprint}):
                for step in wanted:
                    metadata = checkpoints.metadata(step)
                    _evaluate_step(run_dir, step, metadata, suites, writer, place, options, bench, progress)
    return list(places.items())


def _evaluate_step(run_dir, step, metadata, suites, writer, place, options, bench, progress) -> None:
    name = f"step_{step:08d}"
    measured = place / "measurements" / f"{name}.parquet"
    if hosts.agree(measured.exists()):
        return
    written = JsonLines(place / "completions" / f"{name}.jsonl", options.samples)
    asked = asked_in(suites)
    rows, verdicts = [], []
    unwritten = _unwritten(asked, written, options)
    if unwritten or options.likelihood:
        model = sweep.stored_model(metadata)
        params = sweep.restored(run_dir, step, model)
        writer.write(params, model, unwritten, options, written, progress)
        if options.likelihood:
            rows += writer.likelihood(params, model, asked, options, progress)
        del params  # the memory is the programs' now
    if bench:
        samples = samples_of(asked, written.records, options.samples)
        verdicts = judged(samples, place / "verdicts" / f"{name}.jsonl", options, bench, progress)
        rows += scores.rows(verdicts, asked, options.k)
    if hosts.is_first():
        rows = sweep.completed(rows, run_dir, metadata)
        _refuse_incomplete(verdicts, place, name, rows)
        measurements.write(measured, measurements.table(rows))
    hosts.barrier(f"evaluated {run_dir} {step}")


def _refuse_incomplete(verdicts: list[dict], place, name: str, rows: list[dict]) -> None:
    """Where the machine failed at some programs: prints the others' scores, and raises `UserError`."""
    failed = [verdict for verdict in verdicts if verdict["outcome"] == "infra_error"]
    if failed:
        measurements.write(place / "incomplete" / f"{name}.parquet", measurements.table(rows))
        print("incomplete: " + results.summary(place, name, "incomplete"))
        raise UserError(
            f"{len(failed)} of {len(verdicts)} programs could not be judged ({failed[0]['detail']}); the others' verdicts "
            f"and scores are kept in {place}: mend it (`doctor` names what to install) and run the same command again."
        )


def evaluate_completions(
    suites: list[Suite], given: list[dict], name: str, out, options: Options, bench: Bench | None, progress
) -> int:
    """Judges and scores completions that were made elsewhere, {"task_id", "completion"} and, where they are needed to tell
    problems apart, {"suite", "language", "sample"}, into `out`; returns how many problems have none and are left out.

    `bench`: on the first host; the others have nothing to do.
    """
    if options.likelihood or not options.samples:
        raise UserError("the likelihood is a model's; give --checkpoints, or leave --likelihood and --samples=0 out.")
    place = files.path(out)
    asked = asked_in(suites)
    samples = samples_of(asked, given, options.samples)
    answered = {id(sample.problem) for sample in samples}
    with work_in(place, suites, options, {"completions": name, "fingerprint": files.content_hash(given)}):
        if bench:
            scored = [problem for problem in asked if id(problem) in answered]
            verdicts = judged(samples, place / "verdicts" / "given.jsonl", options, bench, progress)
            rows = scores.rows(verdicts, scored, options.k)
            rows = [measurements.row(run=name, seed=0, step=0, **row) for row in rows]
            _refuse_incomplete(verdicts, place, "given", rows)
            measurements.write(place / "measurements" / "given.parquet", measurements.table(rows))
    return len(asked) - len(answered)


def solutions(suites: list[Suite], variant: str) -> list[dict]:
    """The reference solutions as completions; problems without one are left out. `UserError`: there are none at all."""
    found = [
        {"suite": p.suite, "language": p.language, "task_id": p.task_id, "completion": reference(p, variant)}
        for p in asked_in(suites)
        if p.solution is not None
    ]
    _need_solutions(suites, "--solutions", "give --completions or --checkpoints")
    return found


def _need_solutions(suites: list[Suite], option: str, instead: str) -> None:
    if all(problem.solution is None for problem in asked_in(suites)):
        names = ", ".join(sorted({problem.suite for problem in asked_in(suites)}))
        raise UserError(f"{option} needs reference solutions, and {names} comes without them; {instead}.")


def read_completions(path) -> list[dict]:
    """Completions from JSON Lines: "task_id" and "completion"; where they are needed "language", "suite", "sample", "ended".

    Raises:
      UserError: the file cannot be read, or a line is no such object.
    """
    hint = 'each line is {"task_id": …, "completion": …}.'
    found = []
    for number, record in files.json_lines(files.read_bytes(path, hint), path, hint):
        for name in ("task_id", "completion", "language", "suite", "ended"):
            if name in record and not isinstance(record[name], str):
                raise UserError(f"{path}, line {number}: '{name}' must be text, not {quoted(record[name])}; {hint}")
            if name not in record and name in ("task_id", "completion"):
                raise UserError(f"{path}, line {number}: there is no '{name}'; {hint}")
        sample = record.get("sample", 0)
        if isinstance(sample, bool) or not isinstance(sample, int) or sample < 0:
            raise UserError(f"{path}, line {number}: 'sample' must be a number from 0 on, not {quoted(sample)}.")
        found.append(record)
    if not found:
        raise UserError(f"{path} holds no completion; {hint}")
    return found


def samples_of(asked: list[Problem], records: list[dict], wanted: int) -> list[judge.Sample]:
    """Completions beside their problems, in the order of the problems.

    Raises:
      UserError: a completion of no problem, or of two; a problem without exactly the `wanted` completions that there should
        be of each: their `sample`, or else their order, counts from 0.
    """
    by_name: dict[tuple, list[Problem]] = {}
    for problem in asked:
        for suite in (problem.suite, None):
            for language in (problem.language, None):
                by_name.setdefault((suite, language, problem.task_id), []).append(problem)
    found: dict[tuple, list[judge.Sample]] = {}
    numbered: dict[tuple, bool] = {}
    for record in records:
        key = tuple(record.get(name) for name in ("suite", "language", "task_id"))
        name, matches = "/".join(filter(None, key)), by_name.get(key, [])
        if len(matches) != 1:
            hint = 'give its "suite" and "language" as well' if matches else "leave it out, or name its suite"
            raise UserError(f"the completion of {name} fits {len(matches)} problems; {hint}.")
        (problem,) = matches
        mine = found.setdefault(problem.key, [])
        if numbered.setdefault(problem.key, "sample" in record) != ("sample" in record):
            raise UserError(f"{name} has completions with a 'sample' and without; number all of them, or none.")
        index = record.get("sample", len(mine))
        mine.append(judge.Sample(problem, index, record["completion"], record.get("ended", "given")))
    for key, mine in found.items():
        _check_numbers("/".join(key), sorted(sample.index for sample in mine), wanted)
    order = [problem.key for problem in asked]
    return [sample for key in order for sample in sorted(found.get(key, []), key=lambda sample: sample.index)]


def _check_numbers(name: str, numbers: list[int], wanted: int) -> None:
    """A problem's completions must be 0, 1, …, `wanted` - 1, each once; `numbers` are in order."""
    if len(numbers) != wanted:
        raise UserError(
            f"{name} has {len(numbers)} completions and --samples={wanted}; give as many of every problem, or another "
            "--samples."
        )
    for place, number in enumerate(numbers):
        if number != place:
            what = f"two completions with sample {number}" if number < place else f"no completion with sample {place}"
            raise UserError(f"{name} has {what}; with --samples={wanted} they are numbered from 0 to {wanted - 1}.")


def judged(samples, path, options: Options, bench: Bench, progress) -> list[dict]:
    """The verdicts of all samples; checkpoints of one place share what they have in common."""
    bench.ready(sample.problem.language for sample in samples)

    def tell(message):
        progress(message)
        if not hosts.several():  # they ask equally often, and only this one judges
            preemption.check()

    return judge.judge(
        samples,
        bench.sandbox,
        bench.toolchains,
        path,
        compat=options.compat,
        variant=options.variant,
        jobs=bench.jobs,
        progress=tell,
        cache=path.parent.parent / "cache",
    )


@contextlib.contextmanager
def work_in(place, suites: list[Suite], options: Options, more: dict):
    """Holds a place for this process, and writes its `about.json` or checks that the one that stands there says the same.

    Raises:
      UserError: the place is no folder of this machine, or holds results of another version of a suite, of other options, ….
    """
    if not files.is_local(place):
        raise UserError(f"--out={place} is in a bucket; programs are judged into a folder on a disk of this machine.")
    about = {
        "suites": [{"format": suite.name, "files": suite.sources} for suite in suites],
        "languages": sorted({problem.language for problem in asked_in(suites)}),
        "options": dataclasses.asdict(options) | {"k": list(options.k)},
        **more,
    }
    path = place / "about.json"
    with runs.locked(place):
        if path.exists():
            mend = "delete the folder to evaluate anew, or give another --out"
            different = _differences(files.read_json(path, {"options": dict}, mend), about)
            if different:
                raise UserError(
                    f"{place} holds results of other {', '.join(different)}; give another --out, or delete it."
                )
        elif hosts.is_first():
            files.write_json(path, about)
        hosts.barrier(f"described {place}")
        yield


def _differences(found: dict, about: dict) -> list[str]:
    """The names of what differs; of the options, with what they were."""
    before, now = found.get("options", {}), about["options"]
    options = [f"{name} ({before.get(name)})" for name in now if before.get(name) != now[name]]
    return [name for name in about if name != "options" and found.get(name) != about[name]] + (
        [f"options: {', '.join(options)}"] if options else []
    )


# What is needed of a written completion.
WRITTEN = {"suite": str, "language": str, "task_id": str, "sample": int, "completion": str}


class JsonLines:
    """Records in a file, one a line, that survive being killed: when it is opened again, a torn last line is dropped.

    So are the last records that are fewer than `together`, which belong together: a problem's samples.
    """

    def __init__(self, path, together: int):
        self.path = path
        self.records = []
        if path.exists() and together:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror or error}); mend that, or remove it.") from error
            lines = content.split(b"\n")[:-1]
            lines = lines[: len(lines) // together * together]
            self.records = [self._record(number, line) for number, line in enumerate(lines, 1)]
            whole = b"".join(line + b"\n" for line in lines)
            if hosts.is_first() and whole != content:
                files.write_atomic(path, whole)

    def _record(self, number: int, line: bytes) -> dict:
        """Only a last line can be torn by whoever wrote it; any other one was damaged since."""
        try:
            return files.parse_json(line, WRITTEN)
        except ValueError as error:
            raise UserError(
                f"{self.path}, line {number}, is damaged: {one_line(error)}; delete the file to write all of it again."
            ) from error

    def append(self, records: list[dict]) -> None:
        self.records += records
        if hosts.is_first():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self.path.open("ab") as file:
                    file.write(b"".join(json.dumps(record).encode() + b"\n" for record in records))
            except OSError as error:
                raise UserError(
                    f"cannot write {self.path}: {error.strerror or error}; free space and run again."
                ) from error


def _unwritten(asked: list[Problem], written: JsonLines, options: Options) -> list[Problem]:
    if not options.samples:
        return []
    there = {(record["suite"], record["language"], record["task_id"]) for record in written.records}
    return [problem for problem in asked if problem.key not in there]
