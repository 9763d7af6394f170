"""From source trees to a corpus: cleaned, split by project, tokenised, packed, with prompts; or nothing.

A build is a row of phases, each a list of tasks that do not depend on each other: `clean` and `tokens` have a task a piece
of the sources, `select` one a language, `rows` one a shard. A pool of processes, the jobs of an array on a cluster and
Beam do the same: `for task in tasks(work, phase): run_task(work, phase, task)`. All work stands in a folder beside the
corpus, .NAME.partial. A task that is done is not done again, and its result depends neither on who did it nor on when, so
a build that was killed goes on, and the corpus is the same to the byte.
"""

import contextlib
import csv
import dataclasses
import fcntl
import functools
import hashlib
import io
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

import babel_jax
from babel_jax.common import machine
from babel_jax.common.errors import UserError, one_line, printable
from babel_jax.common.files import (
    content_hash,
    differences,
    read_json,
    read_record,
    sha256,
    typed,
    write_atomic,
    write_json,
)
from babel_jax.corpus import clean, phases, sources, tokenizer
from babel_jax.corpus.clean import REASONS
from babel_jax.corpus.manifest import CLEANING, Manifest, language_of
from babel_jax.corpus.phases import SAMPLE_BYTES, VALIDATION_SHARE
from babel_jax.corpus.records import (
    REBUILD,
    SPLITS,
    Amount,
    Cleaned,
    Contents,
    LanguageStats,
    Plan,
    Selected,
    SourceStats,
    SplitStats,
    Statistics,
    Wanted,
)
from babel_jax.languages import registry
from babel_jax.languages.language import Language

if TYPE_CHECKING:  # it loads TFDS, which few of the worker processes need
    from babel_jax.corpus.token_rows import RowSource

FORMAT = 2  # of the directory; a corpus of another one is built again
PHASES = tuple(phases.PHASES)
# Files that are compared at each opening.
SMALL = ("tokenizer.model", "tokenizer.json", "dataset_info.json", "features.json")
STEPS = (*CLEANING, "cap")  # of the funnel
FEWEST_PAIRS = 2  # with prompts, of two languages: intervals are drawn over pairs


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus on disk. `train` and `validation`: language -> RowSource, in the order the languages were given in."""

    directory: Path
    manifest: Contents
    tokenizer: tokenizer.Tokenizer
    train: dict[str, "RowSource"]
    validation: dict[str, "RowSource"]

    @functools.cached_property
    def stats(self) -> Statistics:
        return typed(Statistics, json.loads(self._as_built("stats.json")))

    def _as_built(self, file: str) -> bytes:
        """The content of a small file.

        Raises:
          UserError: it is not the one that was built.
        """
        return _as_built(self.directory, self.manifest, file)

    def language(self, name: str) -> Language:
        """What is known of one of its languages: as it was built with, where it is not one of the package.

        Raises:
          UserError: it is one of another version of the package.
        """
        if name not in registry.LANGUAGES and not self.manifest.definition(name):
            raise UserError(
                f"{self.directory} was built with the language '{name}', which this version of the package does not have; "
                "take the version that built it, or build it again with a `definition` of the language."
            )
        return language_of(name, self.manifest.definition(name), str(self.directory))

    def slots(self, primary: str, new: str) -> dict[str, dict[str, np.ndarray]]:
        """Language -> call sites of the identifier pairs in its held-out files (see `call_sites.slots`).

        Raises:
          UserError: there are fewer than FEWEST_PAIRS with prompts in either language.
        """
        if few := self.too_few_pairs(primary, new):
            raise UserError(few)
        turned = f"call_sites/{primary}-{new}.npz" not in self.manifest.files
        first, second = (new, primary) if turned else (primary, new)
        columns = {"primary_id": "new_id", "new_id": "primary_id"} if turned else {}
        found = {primary: {}, new: {}}
        with np.load(io.BytesIO(self._as_built(f"call_sites/{first}-{second}.npz"))) as arrays:
            for name in arrays.files:
                language, _, column = name.partition("/")
                found[language][columns.get(column, column)] = arrays[name]
        return found

    def too_few_pairs(self, primary: str, new: str) -> str:
        """Why no study can be made of two of its languages, and what to do; "" if it can."""
        sites = self.stats.call_sites
        known = sites.get(f"{primary}-{new}") or sites.get(f"{new}-{primary}")
        pairs = len(known.pairs) if known else 0
        usable = {name: sum(map(bool, known.prompts[name])) if known else 0 for name in (primary, new)}
        if min(usable.values()) >= FEWEST_PAIRS:
            return ""
        titles = [self.language(name).title for name in (primary, new)]
        there = " and ".join(f"{count} in {title}" for title, count in zip(titles, usable.values(), strict=True))
        return (
            f"{self.directory} has too few prompts to study {' and '.join(titles)}: that takes those of at least {FEWEST_PAIRS} "
            f"pairs of their built-ins, and of the {pairs} that are known there are those of {there}; write further `pairs` in "
            "the file of one of them, or build the corpus of more files."
        )

    def heldout(self, language: str) -> Iterator[sources.Document]:
        """The documents of the validation split."""
        return phases.heldout(self.directory, language)


def load(directory: Path, vocab_size: int | None = None) -> Corpus:
    """Opens a corpus that `build` made.

    Raises:
      UserError: it is none, is damaged, or its vocabulary is not the one asked for.
    """
    from babel_jax.corpus import token_rows

    directory = Path(directory)
    manifest = contents(directory)
    for file in manifest.files:
        if Path(file).name in SMALL:
            _as_built(directory, manifest, file)
    model = tokenizer.load(directory)
    if model.sha != manifest.tokenizer.sha:
        raise UserError(f"the tokenizer in {directory} is not the one that made the rows beside it; build it again.")
    if vocab_size is not None and vocab_size != model.vocab_size:
        raise UserError(
            f"the vocabulary of {directory} has {model.vocab_size} tokens, not {vocab_size}; "
            f"set vocab_size to {model.vocab_size} or build another corpus."
        )
    splits = {language: token_rows.read(directory / "rows", language) for language in manifest.languages}
    train, validation = ({language: found[split] for language, found in splits.items()} for split in SPLITS)
    return Corpus(directory, manifest, model, train, validation)


def contents(directory: Path) -> Contents:
    """What a corpus says of itself. Raises a `UserError`: it is none, of another version, or damaged."""
    if not (directory / "manifest.json").exists():
        raise UserError(f"{directory} holds no corpus; make one with `python -m babel_jax corpus build`.")
    manifest = read_json(directory / "manifest.json", {"settings?": dict}, REBUILD)
    if manifest.get("settings", {}).get("format") != FORMAT:
        raise UserError(f"{directory} is a corpus of another version's format; build it again.")
    return read_record(directory / "manifest.json", Contents, REBUILD)


def _as_built(directory: Path, manifest: Contents, file: str) -> bytes:
    try:
        content = (directory / file).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {directory / file} ({error.strerror or error}); {REBUILD}.") from error
    if hashlib.sha256(content).hexdigest() != manifest.files.get(file):
        raise UserError(f"{directory / file} is not the file that was built; {REBUILD}.")
    return content


# --- the whole ---------------------------------------------------------------------------------------------------


def build(
    manifest: Manifest,
    out: Path,
    *,
    benchmarks: Iterable[tuple[str, str]] = (),
    jobs: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Builds a corpus in `out`, or finds it done.

    Args:
      manifest: what to build of what, as `manifest.load` and `manifest.of_sources` return it.
      benchmarks: (name, text) of the prompts and solutions that no document may contain.
      jobs: processes side by side; by default one a core. The corpus does not depend on it.

    Raises:
      UserError: no files, a vocabulary too large for the files, another corpus in `out`, another build at work, disk full.
        Whatever was done stays, and the same call goes on from there.
    """
    out, benchmarks = Path(out), list(benchmarks)
    wanted = _wanted(manifest, benchmarks)
    if out.exists():
        return _found(out, wanted)
    with _writing(out), _locked(_work(out)):
        if out.exists():  # another build has just ended
            return _found(out, wanted)
        work = _begin(manifest, out, benchmarks, wanted)
        for phase in PHASES:
            run_tasks(work, phase, tasks(work, phase), jobs, progress)
        return finish(work, out)


def start(manifest: Manifest, out: Path, benchmarks: list[tuple[str, str]], anew: bool = True) -> Path:
    """The folder that the tasks work in: made, or found as it was left. `out` itself if the corpus is there already.

    What another manifest or other sources left there is removed, and that is said; without `anew` it is an error.

    Raises:
      UserError: no files, another corpus in `out`, another build at work in the folder.
    """
    out, benchmarks = Path(out), list(benchmarks)
    wanted = _wanted(manifest, benchmarks)
    if out.exists():
        return _found(out, wanted).directory
    with _writing(out):
        if _is_begun(_work(out), wanted, manifest):
            return _work(out)
        with _locked(_work(out)):
            return _begin(manifest, out, benchmarks, wanted, anew)


def tasks(work: Path, phase: str) -> list[str]:
    """The names of all tasks of a phase, done or not; the same for all who ask. Nothing is to be done to a corpus.

    Raises:
      UserError: the phase before is not complete.
    """
    if is_corpus(work):
        return []
    if phase not in PHASES:
        raise UserError(f"--phase is {phase}; phases are {', '.join(PHASES)}.")
    before = PHASES[: PHASES.index(phase)][-1:]
    if before:
        missing = _undone(work, before[0], tasks(work, before[0]))
        if missing:
            raise UserError(
                f"{len(missing)} tasks of the phase {before[0]} are still to be done, such as {missing[0]}; "
                f"run all shards of --phase={before[0]} first."
            )
    return phases.PHASES[phase].tasks(work, phases.read_plan(work))


def _undone(work, phase, chosen):
    return [task for task in chosen if not phases.done_file(work, phase, task).exists()]


def run_task(work: Path, phase: str, task: str) -> None:
    """Does one task, all of it or nothing; one that is done is not done again.

    Raises:
      UserError: the disk is full, a source cannot be read, or what the phase itself refuses.
    """
    done = phases.done_file(work, phase, task)
    if not done.exists():
        with _writing(work):
            done.parent.mkdir(parents=True, exist_ok=True)
            try:
                said = phases.PHASES[phase].run(work, phases.read_plan(work), task)
                write_json(done, dataclasses.asdict(said))
            except pa.ArrowException as error:  # of a table that an earlier phase wrote
                raise UserError(
                    f"what stands in {work} is damaged ({one_line(error)}); {phases.anew(work)}."
                ) from error


def finish(work: Path, out: Path) -> Corpus:
    """Writes what is known when all tasks are done, and gives the corpus its name.

    Raises:
      UserError: tasks are still to be done.
    """
    if is_corpus(work):
        return load(work)
    missing = _undone(work, PHASES[-1], tasks(work, PHASES[-1]))
    if missing:
        raise UserError(f"{len(missing)} tasks of the phase {PHASES[-1]} are still to be done, such as {missing[0]}.")
    with _writing(out):
        _describe(work, phases.read_plan(work))
        (work / "corpus").rename(out)
        shutil.rmtree(work, ignore_errors=True)
    return load(out)


def run_tasks(work: Path, phase: str, chosen: list[str], jobs: int | None = None, progress: bool = True) -> None:
    """Does those of the chosen tasks that are not done yet, in `jobs` processes (one a core): in this one if that is 1.

    Raises:
      UserError: of a task; or a process was killed.
    """
    jobs = machine.cores() if jobs is None else jobs
    if jobs < 1:
        raise UserError(f"--jobs is {jobs}; give at least 1.")
    waiting = _undone(work, phase, chosen)
    jobs = min(jobs, len(waiting))
    begin, interval = time.monotonic(), 0.5 if sys.stderr.isatty() else 15
    bar = tqdm(
        desc=phase,
        total=len(chosen),
        initial=len(chosen) - len(waiting),
        unit="task",
        disable=not progress,
        dynamic_ncols=True,
        mininterval=interval,
        file=sys.stderr,
    )
    documents = size = 0
    with bar:
        for task in _side_by_side(work, phase, waiting, jobs) if jobs > 1 else _here(work, phase, waiting):
            more = getattr(phases.said(work, phase, task), "amount", (0, 0))
            documents, size = documents + more[0], size + more[1]
            if documents:
                seconds = time.monotonic() - begin
                bar.set_postfix_str(f"{size / 1e6:.0f} MB, {documents / seconds:.0f} files/s", refresh=False)
            bar.update()


def _here(work, phase, waiting):
    try:
        for task in waiting:
            run_task(work, phase, task)
            yield task
    finally:
        phases.benchmark_index.cache_clear()  # the benchmarks' index is large, and no other phase asks for it


def _side_by_side(work, phase, waiting, jobs):
    """Runs the tasks in processes of their own and yields each that is done."""
    waiting = list(reversed(waiting))
    preload = ["babel_jax.corpus.build", "babel_jax.corpus.token_rows"]  # once for all workers
    with machine.Workers(jobs, _tasks_of, (work, phase), "forkserver", preload) as workers:
        while waiting or workers.busy:
            while waiting and workers.idle:
                workers.give(waiting.pop())
            for task, _ in workers.said():
                yield task


def _tasks_of(work, phase):
    """What a worker process does with a task."""

    def do(task, say):
        try:
            run_task(work, phase, task)
        except Exception as error:
            error.add_note(f"in {phase} of {task}")
            raise

    return do


# --- the folder --------------------------------------------------------------------------------------------------


def _work(out: Path) -> Path:
    out = out.absolute()  # worker processes may stand in another folder
    return out.parent / f".{out.name}.partial"


def is_corpus(directory) -> bool:
    return (directory / "manifest.json").exists()


@contextlib.contextmanager
def _writing(place):
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror or error}. All that is done stays; free space or mend the permissions, "
            "and run again."
        ) from error


@contextlib.contextmanager
def _locked(work, shared=False):
    """Holds the folder: one build alone, or any number of those that share the tasks between them."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another build is at work in {work}; wait for it, or choose another --out.") from None
        yield


def shared_work(work: Path):
    """Context manager: says to a whole build that shards are at work in the folder.

    Raises:
      UserError: a whole build is at work in it.
    """
    return contextlib.nullcontext() if is_corpus(work) else _locked(work, shared=True)


def _wanted(manifest: Manifest, benchmarks) -> Wanted:
    if bool(manifest.clean.decontaminate) != bool(benchmarks):
        raise ValueError("the texts of the benchmarks belong to the manifest's clean.decontaminate")
    given = manifest.record()
    settings = {"format": FORMAT, "validation_share": VALIDATION_SHARE, "sample_bytes": SAMPLE_BYTES}
    settings |= {key: value for key, value in given.items() if key not in ("languages", "tokenizer")}
    if manifest.tokenizer:
        settings["tokenizer"] = tokenizer.load(manifest.tokenizer).sha
    settings["clean"] = given["clean"] | {"decontaminate": content_hash(benchmarks) if benchmarks else False}
    settings["languages"] = {
        name: asked | {"sources": [{k: v for k, v in source.items() if k != "path"} for source in asked["sources"]]}
        for name, asked in given["languages"].items()
    }
    inputs = {name: sources.fingerprint(manifest, name) for name in manifest.languages}
    return Wanted(*json.loads(json.dumps([settings, inputs])))  # as it comes back from a file


def _differences(wanted: Wanted, there: Wanted) -> list[str]:
    differs = [key for key, *_ in differences(vars(there), vars(wanted))]
    # The order of the languages is part of the corpus, and JSON objects keep it.
    if not differs and list(wanted.inputs) != list(there.inputs):
        differs = ["the order of the languages"]
    return differs


def _found(out, wanted):
    if not is_corpus(out) or not (out / "inputs.json").exists():
        raise UserError(f"{out} exists and is not a corpus; give --out a folder that is not there yet.")
    manifest = contents(out)
    differs = _differences(wanted, Wanted(manifest.settings, read_json(out / "inputs.json", dict, REBUILD)))
    if differs:
        raise UserError(f"{out} holds another corpus (it differs in {', '.join(differs)}); choose another --out.")
    shutil.rmtree(_work(out), ignore_errors=True)  # left by a build that was killed when all was done
    return load(out)


def _left_plan(work) -> Plan | None:
    return phases.read_plan(work) if (work / "plan.json").exists() else None


def _is_begun(work, wanted: Wanted, manifest: Manifest) -> bool:
    """Whether this very build was begun in the folder, of sources that stand where they stood."""
    there = _left_plan(work)
    # As text, in which the order of the languages counts.
    return there is not None and json.dumps(there.record()) == json.dumps(
        Plan(wanted, manifest, there.pieces, babel_jax.__version__).record()
    )


def _begin(manifest, out, benchmarks, wanted, anew=True):
    """Writes what the tasks need to know, unless it is there."""
    work = _work(out)
    if _is_begun(work, wanted, manifest):
        return work
    there = _left_plan(work)
    differs = _differences(wanted, there.wanted) if there else []
    if there and there.version != babel_jax.__version__:
        differs.append("the version of babel_jax")
    if differs:
        message = f"{work} holds a build of something else (it differs in {', '.join(differs)})"
        if not anew:
            raise UserError(f"{message}; give what it was begun with, or begin anew with --phase=start.")
        print(f"{printable(message)}, which begins anew.", file=sys.stderr)
    if differs or not there:  # if not, the sources were moved, and what is done holds
        plan_first = sorted(work.iterdir(), key=lambda entry: entry.name != "plan.json")
        for entry in plan_first:  # without it the rest counts for nothing
            if entry.name != "lock":
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    pieces = {}
    for name in manifest.languages:
        pieces[name] = []
        for piece in sources.pieces(manifest, name):
            pieces[name].append(f"{name}-{piece.number:05d}")
            write_json(work / "pieces" / f"{pieces[name][-1]}.json", dataclasses.asdict(piece))
    write_json(work / "benchmarks.json", benchmarks)
    write_json(work / "plan.json", Plan(wanted, manifest, pieces, babel_jax.__version__).record())
    return work


# --- what is known at the end ------------------------------------------------------------------------------------


def _describe(work, plan: Plan) -> None:
    """Writes stats.json, funnel.csv, inputs.json and manifest.json."""
    corpus = work / "corpus"
    for left in [*corpus.rglob(".*"), corpus / "manifest.json"]:  # by who was killed while writing it
        left.unlink(missing_ok=True)
    vocabulary = phases.said(work, "vocabulary", "tokenizer")
    of_language = {name: _statistics(work, plan, name) for name in plan.pieces}
    for name, stats in of_language.items():
        _write_row_info(corpus, plan, name, stats, vocabulary.vocab_size)
    pairs = phases.PHASES["call_sites"].tasks(work, plan)
    sites = {pair: phases.said(work, "call_sites", pair).summary for pair in pairs}
    write_json(corpus / "stats.json", dataclasses.asdict(Statistics(of_language, sites)))
    table = io.StringIO()
    funnel = [line for name, stats in of_language.items() for line in _funnel(work, name, stats.cleaning)]
    csv.writer(table, lineterminator="\n").writerows([FUNNEL_COLUMNS, *funnel])
    write_atomic(corpus / "funnel.csv", table.getvalue())
    write_json(corpus / "inputs.json", plan.wanted.inputs)
    digests = {}
    for phase in ("rows", "call_sites"):
        for task in phases.PHASES[phase].tasks(work, plan):
            digests |= phases.said(work, phase, task).files
    known = {corpus / file for file in digests} | {corpus / "inputs.json"}  # which tells times, too
    digests |= phases.digests(work, [file for file in corpus.rglob("*") if file.is_file() and file not in known])
    contents = Contents(plan.wanted.settings, tuple(plan.pieces), vocabulary, dict(sorted(digests.items())), "")
    record = dataclasses.asdict(contents)
    del record["content"]
    write_json(corpus / "manifest.json", record | {"content": content_hash(record)})


def _write_row_info(corpus, plan: Plan, name: str, stats: LanguageStats, vocab_size: int) -> None:
    from babel_jax.corpus import token_rows

    number = {split: stats.of(split).rows for split in SPLITS}
    token_rows.write_info(corpus / "rows", name, number, plan.row_length, token_rows.token_dtype(vocab_size))


FUNNEL_COLUMNS = ("language", "step", "documents_in", "bytes_in", "documents_out", "bytes_out")


def _statistics(work, plan: Plan, name: str) -> LanguageStats:
    cleaned = [phases.said(work, "clean", piece) for piece in plan.pieces[name]]
    selected: Selected = phases.said(work, "select", name)
    counts = clean.Counts()
    for piece in cleaned:
        counts.merge(clean.Counts.from_table(piece.counts))
    given = plan.manifest.languages[name].sources
    return LanguageStats(
        sources=tuple(
            _source(source.name, [piece for piece in cleaned if piece.source == k]) for k, source in enumerate(given)
        ),
        cleaning=counts.table() | selected.counts,
        redactions=selected.redactions,
        contaminated=selected.contaminated,
        projects=selected.projects,
        **{split: _split(work, plan, name, split) for split in SPLITS},
    )


def _split(work, plan: Plan, name: str, split: str) -> SplitStats:
    parts = [phases.said(work, "tokens", piece).of(split) for piece in plan.pieces[name]]
    documents, size, tokens = (sum(getattr(part, key) for part in parts) for key in ("documents", "bytes", "tokens"))
    # The marks that end documents stand for no text.
    bytes_per_token = round(size / max(1, tokens - documents), 4)
    return SplitStats(documents, size, tokens, tokens // plan.row_length, bytes_per_token)


def _source(name: str, pieces: list[Cleaned]) -> SourceStats:
    licences = Counter()
    for piece in pieces:
        licences.update(piece.licences)
    found = [piece.counts["found"] for piece in pieces]
    return SourceStats(
        name,
        documents=sum(amount.files for amount in found),
        bytes=sum(amount.bytes for amount in found),
        sha256=hashlib.sha256("".join(piece.sha256 for piece in pieces).encode()).hexdigest(),
        licences=dict(sorted(licences.items())),
    )


def _funnel(work, name: str, cleaning: dict[str, Amount]) -> list[tuple]:
    """The language's rows of funnel.csv."""
    redacted_bytes = phases.said(work, "select", name).redacted_bytes
    lines, documents, size = [], cleaning["found"].files, cleaning["found"].bytes
    for step in STEPS:
        dropped = [cleaning[reason] for reason in REASONS.get(step, ())]
        after = documents - sum(amount.files for amount in dropped)
        left = size - sum(amount.bytes for amount in dropped) - (redacted_bytes if step == "redact" else 0)
        lines.append((name, step, documents, size, after, left))
        documents, size = after, left
    return lines


def verify(directory: Path) -> list[str]:
    """What is wrong with a corpus, in sentences; none if all is well.

    Every file must have the digest that the manifest tells, every row of the validation split must decode to the held-out
    documents, no project may stand in both splits, and the counts must be those of stats.json.
    """
    directory, problems = Path(directory), []
    for file, digest in contents(directory).files.items():
        path = directory / file
        if not path.is_file():
            problems.append(f"{file} is missing.")
        elif sha256(path) != digest:
            problems.append(f"{file} is not the file that was built: its SHA-256 is another.")
    if problems:  # what follows would only say the same again, if it could be read at all
        return problems
    corpus = load(directory)
    for name in corpus.manifest.languages:
        problems += [f"{name}: {problem}" for problem in _verify_language(corpus, name)]
    return problems


def _verify_language(corpus, name):
    stats = corpus.stats.languages[name]
    index = pq.read_table(corpus.directory / "documents" / f"{name}.parquet", columns=["bytes", "project", "split"])
    split = np.array(index["split"].to_pylist())
    projects = np.array(index["project"].to_pylist())
    both = sorted(set(projects[split == "train"]) & set(projects[split == "validation"]))
    if both:
        yield f"the project {both[0]} stands in both splits."
    for each, source in (("train", corpus.train[name]), ("validation", corpus.validation[name])):
        found = {
            "documents": int((split == each).sum()),
            "bytes": int(index["bytes"].to_numpy()[split == each].sum()),
            "rows": len(source),
        }
        for key, value in found.items():
            if value != (said := getattr(stats.of(each), key)):
                yield f"{each} has {value} {key}, and stats.json says {said}."
    yield from _verify_heldout(corpus, name)


def _verify_heldout(corpus, name):
    """The ids of the held-out documents, cut into rows, are the validation split."""
    source, length, read = corpus.validation[name], corpus.manifest.row_length, 0
    rest = np.zeros(0, np.int32)
    for document in corpus.heldout(name):
        while read < len(source) and not (rest == corpus.tokenizer.document_end).any():
            row = source.rows([read])[0]
            if len(row) != length:
                yield f"a row has {len(row)} tokens instead of {length}."
                return
            rest, read = np.concatenate([rest, row]), read + 1
        ends = np.flatnonzero(rest == corpus.tokenizer.document_end)
        text, whole = document.content.decode(), len(ends) > 0
        ids, rest = (rest[: ends[0]], rest[ends[0] + 1 :]) if whole else (rest, rest[:0])
        decoded = corpus.tokenizer.decode(ids)
        # The end of the last document may have been left over, in the middle of a character.
        if decoded != text if whole else not text.startswith(decoded.rstrip("\ufffd")):
            yield f"validation rows do not decode to the held-out document {document.path}."
            return
        if not whole:
            break
    if len(rest) or read < len(source):
        yield "the validation split has more rows than its held-out documents fill."
