"""The evaluation of checkpoints, of completions made elsewhere and of reference solutions: write, judge, score.

A place (`out/<seed>/<run>/`, or `out` itself where completions are given) holds `about.json` (the problems' files with
hashes and licences, the options), and for each checkpoint `completions/step_*.jsonl`, `verdicts/step_*.jsonl` and
`measurements/step_*.parquet`. What is written or judged is not done again; results of other files or options are refused.
"""

import collections
import contextlib
import dataclasses
import json
import math
import zlib
from collections.abc import Callable

import numpy as np

from babel_jax import files, measurements
from babel_jax.corpus.tokenizer import Tokenizer
from babel_jax.errors import UserError, unknown_name
from babel_jax.evaluation import generate, judge, likelihood, scores, toolchains, world
from babel_jax.evaluation.measure import completions as world_tokens
from babel_jax.evaluation.problems import Problem, Suite, check_variant, prompt_text, reference
from babel_jax.evaluation.sandbox import open_sandbox
from babel_jax.evaluation.stops import Stopper
from babel_jax.material import Material
from babel_jax.probes import sweep
from babel_jax.training import hosts, loop, preemption
from babel_jax.training.checkpoint import Checkpoints

KEPT_AT_ONCE = 256  # problems whose completions are written to the file together: what a crash can cost


@dataclasses.dataclass(frozen=True)
class Options:
    """How problems are posed and judged; all of it stands in `about.json`.

    Attributes:
      variant: of the prompt, see `problems.VARIANTS`.
      samples, temperature, top_p, seed, new_tokens: see `generate.write`; temperature 0 is greedy.
      k: numbers of tries that pass@k is reported for.
      compat: None, or the peer whose rule judges, see judge.py.
      likelihood: also the bits per byte of the reference solutions, for models too small to pass; with `samples` 0 only them.
    """

    variant: str = "raw"
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    new_tokens: int = 512
    k: tuple[int, ...] = (1,)
    compat: str | None = None
    likelihood: bool = False

    def __post_init__(self):
        """What cannot be done is refused before hours have gone into writing."""
        if not self.samples and not self.likelihood:
            raise UserError("with --samples=0 nothing is left to do; add --likelihood, or write samples.")
        if min(self.k, default=0) < 1:
            raise UserError("--k names no number of tries; give numbers from 1 on, such as --k=1,10.")
        if self.samples and max(self.k) > self.samples:
            raise UserError(f"pass@{max(self.k)} needs {max(self.k)} samples a problem; add --samples={max(self.k)}.")
        if self.new_tokens < 1 or not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1:
            raise UserError(
                f"--new_tokens={self.new_tokens} must be at least 1, --temperature={self.temperature} at least 0 and "
                f"--top_p={self.top_p} in (0, 1]; correct them."
            )
        if self.compat not in judge.RULES:
            raise unknown_name("compat rule", self.compat, judge.COMPAT)
        check_variant(self.variant)


class Bench:
    """What judges: one sandbox, and toolchains that are found and made ready when their language is first asked for."""

    def __init__(self, least: str, jobs: int, cache):
        if jobs < 1:
            raise UserError(f"--jobs is {jobs}; give at least 1.")
        self.jobs, self.cache = jobs, cache
        self.sandbox = open_sandbox(least, workers=jobs)
        self.toolchains: dict[str, toolchains.Toolchain] = {}

    def ready(self, languages) -> None:
        """Finds the toolchains of these languages, before anything is written for nothing."""
        for language in sorted(set(languages) - set(self.toolchains)):
            toolchain = toolchains.find(language)
            toolchain.prepare(self.cache)
            self.toolchains[language] = toolchain

    def close(self) -> None:
        self.sandbox.close()


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
        if bench:
            bench.ready(problem.language for problem in asked_in(suites))
        with contextlib.closing(Checkpoints(run_dir)) as checkpoints:
            wanted = sweep.wanted_steps(checkpoints.steps(), steps, run_dir, more_to_come=False)
            if not wanted:
                raise UserError(f"{run_dir} has no finished checkpoint; train the run first.")
            metadata = checkpoints.metadata(wanted[0])
            writer.check(options, sweep.stored_model(metadata))
            # When a run began tells it from another one of its name.
            about = {"run": run_dir.name, "began": metadata.get("started")}
            with work_in(place, suites, options, about | {"texts": writer.fingerprint}):
                for step in wanted:
                    metadata = checkpoints.metadata(step)
                    _evaluate_step(run_dir, step, metadata, suites, writer, place, options, bench, progress)
    return list(places.items())


def asked_in(suites: list[Suite]) -> list[Problem]:
    return [problem for suite in suites for problem in suite.problems]


def _evaluate_step(run_dir, step, metadata, suites, writer, place, options, bench, progress) -> None:
    name = f"step_{step:08d}"
    measured = place / "measurements" / f"{name}.parquet"
    if hosts.agree(measured.exists()):
        return
    written = JsonLines(place / "completions" / f"{name}.jsonl", options.samples)
    asked = asked_in(suites)
    rows = []
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
        measurements.write(measured, measurements.table(sweep.completed(rows, run_dir, step, metadata)))
    hosts.barrier(f"evaluated {run_dir} {step}")


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
            measurements.write(place / "measurements" / "given.parquet", measurements.table(rows))
    return len(asked) - len(answered)


def solutions(suites: list[Suite], variant: str) -> list[dict]:
    """The reference solutions as completions; problems without one are left out."""
    return [
        {"suite": p.suite, "language": p.language, "task_id": p.task_id, "completion": reference(p, variant)}
        for p in asked_in(suites)
        if p.solution is not None
    ]


def read_completions(path) -> list[dict]:
    """Completions from JSON Lines.

    Raises:
      UserError: the file cannot be read, or a line is no object with "task_id" and "completion".
    """
    try:
        lines = files.path(path).read_text().rstrip("\n").split("\n")  # a completion may hold other marks of lines
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the completions {path} ({error}); check the path.") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            record["completion"], record["task_id"]
            if not all(
                isinstance(record.get(name, ""), str) for name in ("completion", "task_id", "language", "suite")
            ):
                raise TypeError("completion, task_id, language and suite are texts")
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f'{path}, line {number}: {error!r}; each line is {{"task_id": …, "completion": …}}.'
            ) from error
        found.append(record)
    return found


def samples_of(asked: list[Problem], records: list[dict], wanted: int) -> list[judge.Sample]:
    """Completions beside their problems, in the order of the problems.

    Raises:
      UserError: a completion of no problem, or of two; a problem with fewer or more than `wanted` completions.
    """
    by_name: dict[tuple, list[Problem]] = {}
    for problem in asked:
        for key in ((problem.task_id,), (problem.language, problem.task_id)):
            by_name.setdefault(key, []).append(problem)
        by_name.setdefault((problem.suite, problem.language, problem.task_id), []).append(problem)
    found: dict[tuple, list[judge.Sample]] = {}
    for record in records:
        key = tuple(record[name] for name in ("suite", "language", "task_id") if name in record)
        matches = by_name.get(key, [])
        if len(matches) != 1:
            raise UserError(
                f"the completion of {'/'.join(key)} fits {len(matches)} problems; "
                'give its "suite" and "language" as well.'
            )
        (problem,) = matches
        mine = found.setdefault((problem.suite, problem.language, problem.task_id), [])
        index = record.get("sample", len(mine))
        mine.append(judge.Sample(problem, index, record["completion"], record.get("ended", "given")))
    for key, mine in found.items():
        if sorted(sample.index for sample in mine) != list(range(wanted)):
            raise UserError(
                f"{'/'.join(key)} has {len(mine)} completions and --samples={wanted}; they must be as many."
            )
    order = [(problem.suite, problem.language, problem.task_id) for problem in asked]
    return [sample for key in order for sample in sorted(found.get(key, []), key=lambda sample: sample.index)]


def judged(samples, path, options: Options, bench: Bench, progress) -> list[dict]:
    """The verdicts of all samples.

    Raises:
      UserError: some could not be judged because the machine failed; the others are kept.
    """
    bench.ready(sample.problem.language for sample in samples)

    def tell(message):
        progress(message)
        if not hosts.several():  # they ask equally often, and only this one judges
            preemption.check()

    verdicts = judge.judge(
        samples,
        bench.sandbox,
        bench.toolchains,
        path,
        compat=options.compat,
        variant=options.variant,
        jobs=bench.jobs,
        progress=tell,
    )
    failed = [verdict for verdict in verdicts if verdict["outcome"] == "infra_error"]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(verdicts)} programs could not be judged ({failed[0]['detail']}); "
            f"all others are kept in {path}: mend it (`doctor` names what to install) and run the same command again, "
            "or score a copy of the suite without these problems."
        )
    return verdicts


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
    with loop.locked(place):
        if path.exists():
            different = _differences(files.read_json(path), about)
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


class JsonLines:
    """Records in a file, one a line, that survive being killed: when it is opened again, a torn last line is dropped.

    So are the last records that are fewer than `together`, which belong together: a problem's samples.
    """

    def __init__(self, path, together: int):
        self.path = path
        self.records = []
        if path.exists() and together:
            lines = path.read_bytes().split(b"\n")[:-1]
            lines = lines[: len(lines) // together * together]
            self.records = [json.loads(line) for line in lines]
            whole = b"".join(line + b"\n" for line in lines)
            if hosts.is_first() and whole != path.read_bytes():
                files.write_atomic(path, whole)

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


def summary(place) -> str:
    """The scores of the last checkpoint in a place, as a table: a line a suite and language."""
    place = files.path(place)
    last = _measured(place)[-1]
    frame = measurements.read(last)
    frame = frame[frame["probe"] == "evaluation"].copy()
    for name in ("suite", "subset", "outcome", "truncated"):
        frame[name] = [json.loads(text).get(name, "") for text in frame["options"]]
    judged_there = (place / "verdicts" / f"{last.stem}.jsonl").exists()
    unasked = collections.Counter(
        (verdict["suite"], verdict["language"])
        for verdict in (verdicts_of(place, last.stem) if judged_there else ())
        if verdict["ended"] == "no_room"
    )
    notes = {}
    for (suite, language), part in frame[frame["metric"] == "outcome"].groupby(["suite", "language"]):
        ended = [f"{share:.0%} {name}" for share, name in zip(part["value"], part["outcome"], strict=True)]
        full = [f"{unasked[suite, language]} not written: the prompt fills the context"] * bool(
            unasked[suite, language]
        )
        notes[suite, language] = ", ".join(ended + full)
    lines = [f"{place} {last.stem}"]
    told = set()
    for row in frame[frame["metric"].str.contains("pass@|bits_per_byte")].itertuples():
        if (row.suite, row.language, row.metric, row.n) in told:
            continue  # the common subset is all there is
        told.add((row.suite, row.language, row.metric, row.n))
        note = f"{row.truncated} longer than the context" if row.truncated else ""
        if "pass@" in row.metric:
            note = notes.pop((row.suite, row.language), "")
        lines.append(
            f"  {row.suite:20s} {row.language or 'macro':8s} {row.subset:7s} {row.metric:16s} {row.value:.3f} "
            f"[{row.ci_low:.3f}, {row.ci_high:.3f}] n={row.n}" + (f"  ({note})" if note else "")
        )
    return "\n".join(lines)


def _measured(place) -> list:
    """The tables of a place's checkpoints (or given completions), the last one last."""
    return sorted((files.path(place) / "measurements").glob("[sg]*.parquet"))


def place_of(folder):
    """The place that a folder is, or the only one that stands in a folder that --out has filled.

    Raises:
      UserError: there is none, or several.
    """
    folder = files.path(folder)
    found = sorted(path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}about.json"))
    if len(found) != 1:
        among = f"; name one of {', '.join(map(str, found))}." if found else "; evaluate into it first."
        raise UserError(f"{folder} holds the results of {len(found)} evaluations{among}")
    return found[0]


def verdicts_of(place, step: str | None = None) -> list[dict]:
    """The verdicts in a place: of one checkpoint (the name of its file), by default of the last; in order of their tasks.

    Raises:
      UserError: there are none.
    """
    found = sorted((files.path(place) / "verdicts").glob(f"{step or '*'}.jsonl"))
    if not found:
        raise UserError(f"{place} holds no verdicts{f' of {step}' if step else ''}; evaluate into it first.")
    return sorted(
        judge.read(found[-1]), key=lambda v: (v["suite"], v["language"], v["number"], v["task_id"], v["sample"])
    )


def compared(place, other, suites: list[Suite]) -> str:
    """What the last checkpoint in `place` is above the last one in `other`, paired over problems; also `against.json`.

    What `other` holds besides, of other suites or languages, is left out.
    """
    other = place_of(other)
    second = verdicts_of(place)
    names = {(v["suite"], v["language"]) for v in second}
    first = _of(verdicts_of(other), names)
    missing = sorted(" ".join(name) for name in names - {(v["suite"], v["language"]) for v in first})
    if missing:
        raise UserError(f"{other} holds no verdicts on {', '.join(missing)}; evaluate them there first.")
    judged_in = {(v["suite"], v["language"], v["task_id"]) for v in second}
    asked = [p for p in asked_in(suites) if (p.suite, p.language, p.task_id) in judged_in]
    rows = scores.compare(first, second, asked)
    files.write_json(files.path(place) / "against.json", {"other": str(other), "rows": rows})
    lines = [f"{place} above {other}"]
    for row in rows:
        p_value = f"  McNemar p = {row['mcnemar_p']:.3g}" if "mcnemar_p" in row else ""
        lines.append(
            f"  {row['suite']:20s} {row['language'] or 'macro':8s} {row['subset']:7s} {row['value']:+.3f} "
            f"[{row['ci_low']:+.3f}, {row['ci_high']:+.3f}] n={row['n']}{p_value}"
        )
    return "\n".join(lines)


def knowledge(place, primary_only, new_only, suites: list[Suite], primary: str, new: str) -> str:
    """The share of the primary language's knowledge at every checkpoint in `place`; also rows in `measurements/`.

    `primary_only` and `new_only` are places of the models that know one language; where the latter's reference solutions
    were measured (`Options.likelihood`), problems are matched by the bits of theirs.
    """
    place, base, alone = files.path(place), place_of(primary_only), place_of(new_only)
    rows, lines = [], [f"{place}: knowledge of {primary} in {new}"]
    for name in dict.fromkeys(problem.suite for problem in asked_in(suites)):
        asked = [problem for problem in asked_in(suites) if problem.suite == name]

        def solved(at, language, step=None, name=name, asked=asked):
            table = scores.tally(_of(verdicts_of(at, step), {(name, language)}), asked)
            return scores.solved(table, name, language)

        of_primary, of_new = solved(base, primary), solved(alone, new)
        hardness = _hardness(alone, name, new)
        for file in _measured(place):
            share = scores.knowledge_share(of_primary, of_new, solved(place, new, file.stem), hardness)
            about = measurements.read(file).iloc[0]
            common = {key: about[key] for key in ("run", "seed", "step", "tokens", "tokens_by_language")}
            found = scores.knowledge_rows(share, new, {"suite": name, "primary": primary})
            rows += [measurements.row(**common, **row) for row in found]
            lines += [
                f"  {name:20s} {file.stem:14s} {row['metric']:18s} {row['value']:.3f} "
                f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}] n={row['n']}"
                for row in found
            ]
    measurements.write(place / "measurements" / "knowledge_share.parquet", measurements.table(rows))
    return "\n".join(lines)


def _of(verdicts: list[dict], names: set[tuple[str, str]]) -> list[dict]:
    """The verdicts on these (suite, language)."""
    return [verdict for verdict in verdicts if (verdict["suite"], verdict["language"]) in names]


def _hardness(place, suite: str, language: str) -> dict[int, float] | None:
    """Task number -> bits of its reference solution for the model of a place, at its last checkpoint; None: not measured."""
    frame = measurements.read(_measured(place)[-1])
    frame = frame[(frame["metric"] == "solution_bits") & (frame["language"] == language)]
    mine = (row for row in frame.itertuples() if json.loads(row.options)["suite"] == suite)
    return {row.item: row.value for row in mine} or None


def _unwritten(asked: list[Problem], written: JsonLines, options: Options) -> list[Problem]:
    if not options.samples:
        return []
    there = {(record["suite"], record["language"], record["task_id"]) for record in written.records}
    return [problem for problem in asked if (problem.suite, problem.language, problem.task_id) not in there]


class TextWriter:
    """Completions as text, by the model's own tokenizer."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.fingerprint = tokenizer, tokenizer.sha

    def check(self, options: Options, model) -> None:
        """Raises `UserError` where the tokenizer is not the model's."""
        if self.tokenizer.vocab_size != model.vocab_size:
            raise UserError(
                f"the tokenizer has {self.tokenizer.vocab_size} tokens and the model {model.vocab_size}; "
                "give the --corpus that the model was trained on."
            )

    def write(self, params, model, asked: list[Problem], options: Options, written: JsonLines, progress) -> None:
        """Appends the completions of all `asked` to `written`, problems of like length together."""
        prompts = [self.tokenizer.encode(prompt_text(problem, options.variant)) for problem in asked]
        order = np.argsort([len(prompt) for prompt in prompts], kind="stable")
        for start in range(0, len(order), KEPT_AT_ONCE):
            preemption.check()
            chosen = order[start : start + KEPT_AT_ONCE]

            def so_far(message, start=start):
                done = start * options.samples + message["done"]
                progress(message | {"done": done, "of": len(order) * options.samples})

            mine, its_prompts = [asked[i] for i in chosen], [prompts[i] for i in chosen]
            written.append(self._some(params, model, mine, its_prompts, options, so_far))

    def _some(self, params, model, asked, prompts, options, progress) -> list[dict]:
        texts = [prompt_text(problem, options.variant) for problem in asked]
        stoppers, fed = {}, {}

        def text_of(which, ids) -> str:
            return self.tokenizer.decode([*prompts[which], *ids])[len(texts[which]) :]

        def finished(which, sample, ids) -> bool:
            problem = asked[which]
            if (which, sample) not in stoppers:
                stoppers[which, sample] = Stopper(problem.language, texts[which], problem.stops, problem.block)
                fed[which, sample] = 0
            text = text_of(which, ids).rstrip("\ufffd")  # a character whose bytes have not all come
            piece, fed[which, sample] = text[fed[which, sample] :], len(text)
            return stoppers[which, sample].feed(piece)

        found = generate.write(
            params,
            model,
            prompts,
            options.new_tokens,
            samples=options.samples,
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
            stop_id=self.tokenizer.document_end,
            finished=finished,
            streams=[stream(problem) for problem in asked],
            progress=progress,
        )
        records = []
        for which, (problem, samples) in enumerate(zip(asked, found, strict=True)):
            for sample, ids in enumerate(samples):
                stopper = Stopper(problem.language, texts[which], problem.stops, problem.block)
                stopper.feed(text_of(which, ids))
                kept, why = stopper.cut()
                limit = min(options.new_tokens, model.max_length - len(prompts[which]))
                ended = why or ("no_room" if limit < 1 else "length" if len(ids) >= limit else "document_end")
                records.append(
                    {
                        "suite": problem.suite,
                        "language": problem.language,
                        "task_id": problem.task_id,
                        "sample": sample,
                        "completion": kept,
                        "ended": ended,
                        "tokens": len(ids),
                    }
                )
        return records

    def likelihood(self, params, model, asked: list[Problem], options: Options, progress) -> list[dict]:
        """Rows: bits per byte of each suite and language, and "solution_bits" of each problem (n: its bytes)."""
        end = self.tokenizer.document_end
        losses = likelihood.solution_losses(
            params, model, self.tokenizer, asked, options.variant, document_end=end, progress=progress
        )
        return likelihood.rows(losses) + [
            dict(
                probe="evaluation",
                language=loss["language"],
                metric="solution_bits",
                item=loss["number"],
                value=loss["bits"],
                n=loss["bytes"],
                options={"suite": loss["suite"], "variant": loss["variant"], "truncated": loss["truncated"]},
            )
            for loss in losses
        ]


def stream(problem: Problem) -> int:
    """The number of a problem's random stream: it does not depend on which other problems are asked."""
    return zlib.crc32(f"{problem.suite}/{problem.language}/{problem.task_id}".encode())


class WorldWriter:
    """Completions of the embedded world's problems: greedy tokens, then the text that they stand for."""

    def __init__(self, embedded, material: Material):
        self.embedded, self.material = embedded, material
        self.fingerprint = material.fingerprint

    def check(self, options: Options, model) -> None:
        """Raises `UserError` where the options ask for what has no meaning here."""
        if options.temperature or options.likelihood or options.variant != "raw":
            raise UserError(
                "the embedded world's programs are written greedily after one prompt and scored by running; "
                "leave --temperature, --likelihood and --variant out."
            )

    def write(self, params, model, asked: list[Problem], options: Options, written: JsonLines, progress) -> None:
        for language in dict.fromkeys(problem.language for problem in asked):
            tokens_QxA = world_tokens(params, model, self.material, language)
            texts = world.completions(self.embedded, language, tokens_QxA)
            mine = [problem for problem in asked if problem.language == language]
            written.append(
                [
                    {
                        "suite": problem.suite,
                        "language": language,
                        "task_id": problem.task_id,
                        "sample": 0,
                        "completion": texts[problem.number],
                        "ended": "length",
                        "tokens": tokens_QxA.shape[1],
                    }
                    for problem in mine
                ]
            )
            progress({"doing": "writing", "done": len(written.records), "of": len(asked)})
