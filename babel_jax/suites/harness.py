"""The evaluation of checkpoints, of completions made elsewhere and of reference solutions: write, judge, score.

A place (`out/<seed>/<run>/`, or `out` itself where completions are given) holds `about.json` (the problems' files with
hashes and licences, the options), and for each checkpoint `completions/step_*.jsonl`, `verdicts/step_*.jsonl` and
`measurements/step_*.parquet` (in `incomplete/` where the machine failed at some programs). What is written or judged is
not done again; results of other files or options are refused.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError, quoted
from babel_jax.measuring import walk
from babel_jax.suites import judge, results, scores
from babel_jax.suites.completions import Completion, Options
from babel_jax.suites.judge import Bench, Sample
from babel_jax.suites.problems import Problem, Suite, asked_in, reference
from babel_jax.suites.verdict_log import Verdict
from babel_jax.training import hosts, preemption, runs


@dataclasses.dataclass(frozen=True)
class Session:
    """An evaluation that was asked for.

    Attributes:
      out: where results are kept.
      bench: on the first host; None on the others, which only help to write, and where nothing is to be judged.
      progress: called with (what is done, how many are done, of how many).
    """

    out: object
    options: Options
    bench: Bench | None = None
    progress: Callable[[str, int, int], None] = lambda doing, done, of: None


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder of results: of one run, or of given completions."""

    folder: object
    suites: list[Suite]
    session: Session

    @property
    def asked(self) -> list[Problem]:
        return asked_in(self.suites)

    def table(self, name: str):
        return self.folder / "measurements" / f"{name}.parquet"

    def is_evaluated(self, step: int) -> bool:
        return self.table(walk.file_name(step)).exists()

    def verdicts(self, samples: list[Sample], name: str) -> list[Verdict]:
        """The verdicts of all samples; checkpoints of one place share what they have in common."""
        bench, options = self.session.bench, self.session.options
        bench.ready(sample.problem.language for sample in samples)

        def report(*message):
            self.session.progress(*message)
            if not hosts.several():  # they ask equally often, and only this one judges
                preemption.check()

        path, cache = self.folder / "verdicts" / f"{name}.jsonl", self.folder / "cache"
        return judge.judge(samples, bench, path, compat=options.compat, cache=cache, progress=report)

    def keep(self, name: str, rows: list[dict], verdicts: list[Verdict]) -> None:
        """Writes the measurements of a checkpoint.

        Raises:
          UserError: the machine failed at some programs; the others' scores are printed, and kept in `incomplete/`.
        """
        failed = [verdict for verdict in verdicts if verdict.outcome == "infra_error"]
        if failed:
            measurements.write(self.folder / "incomplete" / f"{name}.parquet", measurements.table(rows))
            print("incomplete: " + results.summary(self.folder, name, "incomplete"))
            raise UserError(
                f"{len(failed)} of {len(verdicts)} programs could not be judged ({failed[0].detail}); the others' verdicts "
                f"and scores are kept in {self.folder}: mend it (`doctor` names what to install) and run the same command "
                "again."
            )
        measurements.write(self.table(name), measurements.table(rows))


def evaluate_runs(run_dirs, texts: Callable, steps, session: Session) -> list[Place]:
    """Writes, judges and scores at every chosen checkpoint of every run; returns their places below `session.out`.

    Args:
      run_dirs: from `walk.run_directories`.
      texts: run directory -> (suites, the writer of its completions).
      steps: which checkpoints; () for all, (-1,) for the last.

    Raises:
      UserError: a run without checkpoints, options that its writer cannot follow, a place with results of something else, ….
    """
    options = session.options
    if options.samples > 1 and not options.temperature:
        raise UserError(f"{options.samples} greedy samples are all the same; add --temperature, such as 0.8.")
    places = []
    for source, folder in walk.places_of(map(walk.OwnRun, run_dirs), session.out, "evaluate").items():
        run_dir = source.directory
        if folder == run_dir:
            raise UserError(f"--out={session.out} is where {run_dir} keeps its own measurements; give another folder.")
        suites, writer = texts(run_dir)
        place = Place(folder, suites, session)
        places.append(place)
        if options.likelihood:
            _need_solutions(suites, "--likelihood", "leave it out")
        if session.bench:
            session.bench.ready(problem.language for problem in place.asked)
        first = next(walk.checkpoints(source, steps))
        writer.check(options, first.model)
        # When a run began distinguishes it from another one of its name.
        about = {"run": run_dir.name, "began": first.seen.started, "texts": writer.fingerprint}
        with work_in(place, about):
            for checkpoint in walk.checkpoints(source, steps, skip=place.is_evaluated):
                _evaluate_checkpoint(checkpoint, writer, place)
    return places


def _evaluate_checkpoint(checkpoint: walk.Checkpoint, writer, place: Place) -> None:
    name, options, progress = checkpoint.file_name, place.session.options, place.session.progress
    written = CompletionLog(place.folder / "completions" / f"{name}.jsonl", options.samples)
    unwritten = written.unwritten(place.asked) if options.samples else []
    rows, verdicts = [], []
    if unwritten or options.likelihood:
        here = walk.restored(checkpoint)
        if here is None:
            return
        writer.write(here.params, here.model, unwritten, options, written, progress)
        if options.likelihood:
            rows += writer.likelihood(here.params, here.model, place.asked, options, progress)
        del here  # the memory is the programs' now
    if place.session.bench:
        verdicts = place.verdicts(samples_of(place.asked, written.completions, options), name)
        rows += scores.rows(verdicts, place.asked, options.k)
    if hosts.is_first():
        place.keep(name, walk.completed(checkpoint, rows), verdicts)
    hosts.barrier(f"evaluated {checkpoint.source} {checkpoint.step}")


@dataclasses.dataclass(frozen=True)
class Given:
    """Completions that were made elsewhere. `fingerprint`: of all that stands in their records."""

    name: str
    completions: list[Completion]
    fingerprint: str


def evaluate_completions(suites: list[Suite], given: Given, session: Session) -> tuple[Place, int]:
    """Judges and scores completions that were made elsewhere, into `session.out`; returns how many problems have none and
    are left out, too."""
    options = session.options
    if options.likelihood or not options.samples:
        raise UserError("the likelihood is a model's; give --checkpoints, or leave --likelihood and --samples=0 out.")
    place = Place(files.path(session.out), suites, session)
    samples = samples_of(place.asked, given.completions, options)
    answered = {id(sample.problem) for sample in samples}
    with work_in(place, {"completions": given.name, "fingerprint": given.fingerprint}):
        if session.bench:
            scored = [problem for problem in place.asked if id(problem) in answered]
            verdicts = place.verdicts(samples, "given")
            rows = scores.rows(verdicts, scored, options.k)
            rows = [measurements.row(run=given.name, seed=0, step=0, **row) for row in rows]
            place.keep("given", rows, verdicts)
    return place, len(place.asked) - len(answered)


def solutions(suites: list[Suite], variant: str) -> Given:
    """The reference solutions as completions; problems without one are left out. `UserError`: there are none at all."""
    _need_solutions(suites, "--solutions", "give --completions or --checkpoints")
    completions = [
        Completion(p.task_id, reference(p, variant), p.suite, p.language)
        for p in asked_in(suites)
        if p.solution is not None
    ]
    records = [
        {name: getattr(one, name) for name in ("suite", "language", "task_id", "completion")} for one in completions
    ]
    return Given("solutions", completions, files.content_hash(records))


def _need_solutions(suites: list[Suite], option: str, instead: str) -> None:
    if all(problem.solution is None for problem in asked_in(suites)):
        names = ", ".join(sorted({problem.suite for problem in asked_in(suites)}))
        raise UserError(f"{option} needs reference solutions, and {names} comes without them; {instead}.")


def read_completions(path, name: str) -> Given:
    """Completions from JSON Lines: "task_id" and "completion"; where they are needed "language", "suite", "sample", "ended".

    Raises:
      UserError: the file cannot be read, or a line is not such an object.
    """
    hint = 'each line is {"task_id": …, "completion": …}.'
    records = list(files.json_lines(files.read_bytes(path, hint), path, hint))
    if not records:
        raise UserError(f"{path} holds no completion; {hint}")
    completions = [_completion(record, f"{path}, line {number}", hint) for number, record in records]
    return Given(name, completions, files.content_hash([record for _, record in records]))


def _completion(record: dict, where: str, hint: str) -> Completion:
    texts = ("task_id", "completion", "suite", "language", "ended")
    for name in texts:
        if name in record and not isinstance(record[name], str):
            raise UserError(f"{where}: '{name}' must be text, not {quoted(record[name])}; {hint}")
        if name not in record and name in ("task_id", "completion"):
            raise UserError(f"{where}: there is no '{name}'; {hint}")
    sample = record.get("sample")
    if "sample" in record and (isinstance(sample, bool) or not isinstance(sample, int) or sample < 0):
        raise UserError(f"{where}: 'sample' must be a number from 0 on, not {quoted(sample)}.")
    return Completion(sample=sample, **{name: record[name] for name in texts if name in record})


def samples_of(asked: list[Problem], completions: Iterable[Completion], options: Options) -> list[Sample]:
    """Completions beside their problems, in the order of the problems.

    Raises:
      UserError: a completion of no problem, or of two; a problem without exactly the `options.samples` completions that
        there should be of each: their `sample`, or else their order, counts from 0.
    """
    by_name: dict[tuple, list[Problem]] = {}
    for problem in asked:
        for suite in (problem.suite, None):
            for language in (problem.language, None):
                by_name.setdefault((suite, language, problem.task_id), []).append(problem)
    of_problem: dict[tuple, list[Sample]] = {}
    numbered: dict[tuple, bool] = {}
    for one in completions:
        key = (one.suite, one.language, one.task_id)
        name, matches = "/".join(filter(None, key)), by_name.get(key, [])
        if len(matches) != 1:
            hint = 'give its "suite" and "language" as well' if matches else "leave it out, or name its suite"
            raise UserError(f"the completion of {name} fits {len(matches)} problems; {hint}.")
        (problem,) = matches
        mine, has_number = of_problem.setdefault(problem.key, []), one.sample is not None
        if numbered.setdefault(problem.key, has_number) != has_number:
            raise UserError(f"{name} has completions with a 'sample' and without; number all of them, or none.")
        index = one.sample if has_number else len(mine)
        mine.append(Sample(problem, index, one.completion, one.ended, options.variant))
    for key, mine in of_problem.items():
        _check_numbers("/".join(key), sorted(sample.index for sample in mine), options.samples)
    order = [problem.key for problem in asked]
    return [sample for key in order for sample in sorted(of_problem.get(key, []), key=lambda sample: sample.index)]


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


@contextlib.contextmanager
def work_in(place: Place, more: dict):
    """Holds a place for this process, and writes its `about.json` or checks that the one that stands there says the same.

    Raises:
      UserError: the place is not a folder of this machine, or holds results of another version of a suite, of other options, ….
    """
    folder, options = place.folder, place.session.options
    if not files.is_local(folder):
        raise UserError(f"--out={folder} is in a bucket; programs are judged into a folder on a disk of this machine.")
    about = {
        "suites": [
            {
                "format": suite.name,
                "files": {name: dataclasses.asdict(source) for name, source in suite.sources.items()},
            }
            for suite in place.suites
        ],
        "languages": sorted({problem.language for problem in place.asked}),
        "options": dataclasses.asdict(options) | {"k": list(options.k)},
        **more,
    }
    path = folder / "about.json"
    with runs.locked(folder):
        if path.exists():
            mend = "delete the folder to evaluate anew, or give another --out"
            different = _differences(files.read_json(path, {"options": dict}, mend), about)
            if different:
                raise UserError(
                    f"{folder} holds results of other {', '.join(different)}; give another --out, or delete it."
                )
        elif hosts.is_first():
            files.write_json(path, about)
        hosts.barrier(f"described {folder}")
        yield


def _differences(kept: dict, about: dict) -> list[str]:
    """The names of what differs; of the options, with what they were."""
    before, now = kept.get("options", {}), about["options"]
    options = [f"{name} ({before.get(name)})" for name in now if before.get(name) != now[name]]
    return [name for name in about if name != "options" and kept.get(name) != about[name]] + (
        [f"options: {', '.join(options)}"] if options else []
    )


class CompletionLog:
    """Written completions in a file, one a line, that survive being killed: a torn last line is dropped when it is opened.

    So are the last ones that are fewer than `together`, which belong together: a problem's samples.
    """

    def __init__(self, path, together: int):
        self.path = path
        self.completions: list[Completion] = []
        if path.exists() and together:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UserError(f"cannot read {path} ({error.strerror or error}); mend that, or remove it.") from error
            lines = content.split(b"\n")[:-1]
            whole = b"".join(line + b"\n" for line in lines[: len(lines) // together * together])
            # Only a last line can be torn by whoever wrote it; any other one was damaged since.
            self.completions = files.records(whole, path, Completion, "delete the file to write all of it again")
            if hosts.is_first() and whole != content:
                files.write_atomic(path, whole)

    def append(self, completions: list[Completion]) -> None:
        self.completions += completions
        if hosts.is_first():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self.path.open("ab") as file:
                    file.write(b"".join(json.dumps(one.record()).encode() + b"\n" for one in completions))
            except OSError as error:
                raise UserError(
                    f"cannot write {self.path}: {error.strerror or error}; free space and run again."
                ) from error

    def unwritten(self, asked: list[Problem]) -> list[Problem]:
        """The problems that have no completions here."""
        there = {(one.suite, one.language, one.task_id) for one in self.completions}
        return [problem for problem in asked if problem.key not in there]
