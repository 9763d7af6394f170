"""From folders of source files to a corpus: cleaned, split by project, tokenised, packed, with prompts; or nothing."""

import argparse
import contextlib
import dataclasses
import hashlib
import io
import shutil
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from babel_jax import languages
from babel_jax.corpus import call_sites, rows, sources, tokenizer
from babel_jax.corpus.clean import Counts, clean
from babel_jax.errors import UserError
from babel_jax.files import content_hash, read_json, write_atomic, write_json

FORMAT = 1  # of the directory; a corpus of another one is built again
VALIDATION_SHARE = 0.05  # of a language's bytes
SAMPLE_BYTES = 4_000_000  # per language, from which the vocabulary is learnt: bounds the memory of the build


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A corpus on disk. `train` and `validation`: language -> RowSource, in the order the languages were given in."""

    directory: Path
    manifest: dict
    tokenizer: tokenizer.Tokenizer
    train: dict[str, rows.RowSource]
    validation: dict[str, rows.RowSource]

    def slots(self, primary: str, new: str) -> dict[str, dict[str, np.ndarray]]:
        """Language -> call sites of the identifier pairs in its held-out files (see `call_sites.slots`)."""
        file = self.directory / "call_sites" / f"{primary}-{new}.npz"
        if not file.exists():
            raise UserError(f"the corpus {self.directory} has no call sites of {primary} and {new}; build one of both.")
        with np.load(file) as arrays:
            found = {primary: {}, new: {}}
            for name in arrays.files:
                language, _, column = name.partition("/")
                found[language][column] = arrays[name]
        return found

    def heldout(self, language: str) -> Iterator[sources.Document]:
        """The documents of the validation split."""
        return sources.documents([self.directory / "heldout" / f"{language}.tar.xz"], languages.language(language))


def load(directory: Path, vocab_size: int | None = None) -> Corpus:
    """Opens a corpus that `build` made.

    Raises:
      UserError: it is none, is damaged, or its vocabulary is not the one asked for.
    """
    directory = Path(directory)
    if not (directory / "manifest.json").exists():
        raise UserError(f"{directory} holds no corpus; make one with `python -m babel_jax corpus build`.")
    manifest = read_json(directory / "manifest.json")
    model = tokenizer.load(directory / "tokenizer.model")
    if model.sha != manifest["tokenizer"]["sha"]:
        raise UserError(f"{directory}/tokenizer.model is not the one that made the rows beside it; build it again.")
    if vocab_size is not None and vocab_size != model.vocab_size:
        raise UserError(
            f"the vocabulary of {directory} has {model.vocab_size} tokens, not {vocab_size}; "
            f"set vocab_size to {model.vocab_size} or build another corpus."
        )
    splits = {language: rows.read(directory / "rows", language) for language in manifest["languages"]}
    return Corpus(
        directory,
        manifest,
        model,
        {language: split["train"] for language, split in splits.items()},
        {language: split["validation"] for language, split in splits.items()},
    )


def build(
    source_paths: dict[str, list[Path]],
    out: Path,
    *,
    vocab_size: int,
    max_length: int,
    prompts_per_pair: int = call_sites.PER_PAIR,
    progress: bool = True,
) -> Corpus:
    """Builds a corpus of one or more languages in `out`, or finds it done.

    What is needed stands in `out` at the end or nothing does: the work is done in a folder beside it. Memory is bounded
    by the vocabulary, the sample that it is learnt from and one shard, but for two hashes a document.

    Args:
      source_paths: language -> folders and archives of its source files. The same order gives the same corpus.
      vocab_size: tokens of the one vocabulary that all languages share.
      max_length: T; rows hold T + 1 tokens, prompts at most T.

    Raises:
      UserError: unknown language, no files, vocabulary too large for the files, another corpus in `out`, disk full.
    """
    known = {name: languages.language(name) for name in source_paths}
    if not known:
        raise UserError("a corpus needs at least one language; give --source NAME=FOLDER.")
    out = Path(out)
    settings = {
        "format": FORMAT,
        "vocab_size": vocab_size,
        "max_length": max_length,
        "prompts_per_pair": prompts_per_pair,
        "validation_share": VALIDATION_SHARE,
        "sample_bytes": SAMPLE_BYTES,
    }
    inputs = {name: _fingerprint(paths, known[name]) for name, paths in source_paths.items()}
    if out.exists():
        return _found(out, {"settings": settings, "inputs": inputs})
    work = out.parent / f".{out.name}.partial"
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        _build(work, source_paths, known, settings, progress)
        write_json(work / "inputs.json", {"settings": settings, "inputs": inputs})
        shutil.rmtree(work / "work")
        work.rename(out)
    except OSError as error:
        raise UserError(
            f"cannot write the corpus to {out}: {error.strerror or error}. "
            "Free space or mend the permissions and run again."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return load(out)


def _found(out, wanted):
    if not (out / "inputs.json").exists():
        raise UserError(f"{out} exists and is no corpus; give --out a folder that is not there yet.")
    there = read_json(out / "inputs.json")
    differs = [
        f"{group}.{key}"
        for group in wanted
        for key in sorted({*wanted[group], *there.get(group, {})})
        if wanted[group].get(key) != there.get(group, {}).get(key)
    ]
    # The order of the languages is part of the corpus, and JSON objects keep it.
    if not differs and list(wanted["inputs"]) != list(there["inputs"]):
        differs = ["the order of the languages"]
    if differs:
        raise UserError(f"{out} holds another corpus (it differs in {', '.join(differs)}); choose another --out.")
    return load(out)


def _fingerprint(paths, language):
    """Names, sizes and times of the source files: tells whether they are still the ones a corpus was made of."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        if path.is_file():
            digest.update(f"{path.name}\t{path.stat().st_size}\t{path.stat().st_mtime_ns}\n".encode())
        else:
            for document in sources.listing([path], language):
                file = path / document.path.partition("/")[2]
                changed = file.stat().st_mtime_ns if file.exists() else 0
                digest.update(f"{document.path}\t{document.size}\t{changed}\n".encode())
    return digest.hexdigest()[:16]


def _build(work, source_paths, known, settings, progress):
    scratch = work / "work"
    scratch.mkdir()
    bar = _bars(progress)
    cleaned = {name: _clean(scratch, paths, known[name], bar) for name, paths in source_paths.items()}

    def train_texts():
        for name in known:
            kept = sum(cleaned[name]["train_projects"].values())
            documents = bar(_train(scratch, cleaned[name], known[name]), f"{name}: sample for the vocabulary")
            yield from _sample((document.content.decode() for document in documents), kept, SAMPLE_BYTES)

    model = tokenizer.train(train_texts(), settings["vocab_size"])
    model.save(work / "tokenizer.model")

    manifest = {"settings": settings, "languages": {}, "call_sites": {}}
    manifest["tokenizer"] = {"sha": model.sha, "vocab_size": model.vocab_size, "document_end": model.document_end}
    for name, language in known.items():
        manifest["languages"][name] = cleaned[name]["counts"] | _rows(
            work, scratch, cleaned[name], language, model, settings, bar
        )
    (work / "call_sites").mkdir()
    for (primary, new), pairs in languages.IDENTIFIER_PAIRS.items():
        if primary in known and new in known:
            found, summary = _call_sites(work, known[primary], known[new], pairs, model, settings, bar)
            write_atomic(work / "call_sites" / f"{primary}-{new}.npz", found)
            manifest["call_sites"][f"{primary}-{new}"] = summary
    manifest["content"] = content_hash([manifest, *sorted(_digests(work / "rows"))])
    write_json(work / "manifest.json", manifest)


def _bars(progress):
    def bar(items, description, total=None, unit="file"):
        return tqdm(items, desc=description, total=total, unit=unit, disable=not progress, dynamic_ncols=True)

    return bar


def _clean(scratch, paths, language, bar):
    """Writes the documents worth keeping to an archive of their own; says which projects are held out."""
    projects = sources.Projects(sources.listing(paths, language), VALIDATION_SHARE)
    counts, kept = Counts(), Counter()
    documents = bar(sources.documents(paths, language), f"{language.name}: clean", projects.files)
    with _Archive(scratch / f"{language.name}.tar") as archive:
        for document in clean(documents, language, counts):
            archive.add(document)
            kept[projects.project(document.path)] += document.size
    heldout = held_out_projects(kept)
    if not heldout:
        raise UserError(
            f"only {counts.files['kept']} of {projects.files} {language.title} files are fit to train on, "
            "too few to hold some out; give more."
        )
    return {
        "projects": projects,
        "held_out": heldout,
        "train_projects": {project: size for project, size in kept.items() if project not in heldout},
        "counts": {
            "files": projects.files,
            "bytes": projects.bytes,
            "cleaning": counts.table(),
            "projects": {"train": len(kept) - len(heldout), "validation": sorted(heldout)},
        },
    }


def held_out_projects(bytes_of_project: dict[str, int], share: float = VALIDATION_SHARE) -> set[str]:
    """Projects for validation: in the order of their hashes, each that still fits, until `share` of the bytes is met.

    A project that would overshoot the share by half is passed over; where all would, the smallest is taken. At least
    one is held out and one stays, if there are two; an empty set if there are not.
    """
    if len(bytes_of_project) < 2:
        return set()
    target = share * sum(bytes_of_project.values())
    held_out, total = set(), 0
    for project in sorted(bytes_of_project, key=lambda name: hashlib.sha256(name.encode("utf-8", "replace")).digest()):
        if total >= target or len(held_out) + 1 == len(bytes_of_project):
            break
        if total + bytes_of_project[project] <= 1.5 * target:
            held_out.add(project)
            total += bytes_of_project[project]
    return held_out or {min(bytes_of_project, key=lambda name: (bytes_of_project[name], name))}


class _Archive:
    """A .tar or .tar.xz of documents: the same documents, the same bytes (a .gz would hold the time)."""

    def __init__(self, path):
        # preset 1: the usual one takes 100 MB of memory
        compression = {"mode": "w:xz", "preset": 1} if path.suffix == ".xz" else {"mode": "w"}
        self._tar = tarfile.open(path, **compression)  # noqa: SIM115 closed by __exit__

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._tar.close()

    def add(self, document):
        # The archive's own name leads the path again when it is read.
        entry = tarfile.TarInfo(document.path)
        entry.size = len(document.content)
        self._tar.addfile(entry, io.BytesIO(document.content))
        self._tar.members = []  # or memory would grow with the archive


def _spooled(scratch, language):
    """The cleaned documents of a language, with the paths they came with."""
    with contextlib.closing(sources.documents([scratch / f"{language.name}.tar"], language)) as documents:
        for document in documents:
            yield document._replace(path=document.path.partition("/")[2])


def _train(scratch, cleaned, language):
    for document in _spooled(scratch, language):
        if cleaned["projects"].project(document.path) not in cleaned["held_out"]:
            yield document


def _sample(texts: Iterable[str], total: int, cap: int) -> Iterator[str]:
    """Every n-th text or so, such that about `cap` of `total` bytes come, spread evenly; never more than `cap`."""
    seen = given = 0
    for text in texts:
        size = len(text.encode())
        seen += size
        if given + size <= min(cap, cap * seen / max(total, 1) + size / 2):
            given += size
            yield text


def _rows(work, scratch, cleaned, language, model, settings, bar):
    """Tokens and rows of both splits, the archive of held-out files, and the proof that they come back exactly."""
    length = settings["max_length"] + 1
    files = {split: rows.TokenFile(scratch / f"{language.name}.{split}", model) for split in ("train", "validation")}
    count = {split: Counter() for split in files}
    (work / "heldout").mkdir(exist_ok=True)
    total = cleaned["counts"]["cleaning"]["kept"]["files"]
    with _Archive(work / "heldout" / f"{language.name}.tar.xz") as heldout:
        for document in bar(_spooled(scratch, language), f"{language.name}: tokens", total):
            held_out = cleaned["projects"].project(document.path) in cleaned["held_out"]
            split = "validation" if held_out else "train"
            text = document.content.decode()
            ids = files[split].append(text)
            count[split].update(files=1, bytes=document.size)
            if held_out:
                heldout.add(document)
                if model.decode(ids) != text:
                    raise RuntimeError(f"{document.path} does not come back from its tokens: the tokenizer loses text")
    for file in files.values():
        file.close()
    total = sum(file.rows(length) for file in files.values())
    with bar(None, f"{language.name}: rows", total, "row") as progress:
        number = rows.write(work / "rows", language.name, files, length, progress.update)
    return {
        split: dict(count[split])
        | {"tokens": file.tokens, "rows": number[split]}
        | {"bytes_per_token": round(count[split]["bytes"] / max(1, file.tokens - count[split]["files"]), 4)}
        for split, file in files.items()
    }


def _call_sites(work, primary, new, pairs, model, settings, bar):
    """(npz, summary) of the prompts in both languages."""
    arrays, messages, counts = {}, [], {}
    for language, side in ((primary, 0), (new, 1)):
        here, there = [pair[side] for pair in pairs], [pair[1 - side] for pair in pairs]
        archive = sources.documents([work / "heldout" / f"{language.name}.tar.xz"], language)
        documents = bar(archive, f"{language.name}: call sites")
        max_length = settings["max_length"]
        prompts, rejected = call_sites.mine(
            documents, language, here, there, model, max_length, settings["prompts_per_pair"]
        )
        messages += rejected
        found = call_sites.slots(prompts, side == 0, max_length, model.padding)
        arrays |= {f"{language.name}/{column}": array for column, array in found.items()}
        counts[language.name] = np.bincount(found["pair"], minlength=len(pairs)).tolist()
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    names = [f"{first.text}/{second.text}" for first, second in pairs]
    return buffer.getvalue(), {"pairs": names, "prompts": counts, "messages": messages}


def _digests(directory):
    for file in directory.rglob("*.array_record*"):
        digest = hashlib.sha256()
        with file.open("rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
        yield f"{file.relative_to(directory)} {digest.hexdigest()}"


def report(corpus: Corpus) -> str:
    """What was kept and what was dropped, in lines for the terminal."""
    lines = []
    for name, language in corpus.manifest["languages"].items():
        title = languages.language(name).title
        lines.append(f"{title}: {language['files']} files, {language['bytes'] / 1e6:.1f} MB found")
        for reason, count in language["cleaning"].items():
            if count["files"]:
                reason = reason if reason == "kept" else f"dropped: {reason.replace('_', ' ')}"
                lines.append(f"  {reason}: {count['files']} files, {count['bytes'] / 1e6:.2f} MB")
        for split in ("train", "validation"):
            part = language[split]
            lines.append(
                f"  {split}: {part['files']} files, {part['bytes'] / 1e6:.2f} MB, {part['tokens'] / 1e6:.3f} M tokens "
                f"({part['bytes_per_token']:.2f} bytes each), {part['rows']} rows"
            )
    for name, sites in corpus.manifest["call_sites"].items():
        lines.append(f"call sites {name}:")
        for pair, *counts in zip(sites["pairs"], *sites["prompts"].values(), strict=True):
            given = [f"{count} in {name}" for name, count in zip(sites["prompts"], counts, strict=True)]
            lines.append(f"  {pair}: {', '.join(given)}")
        lines += [f"  {message}" for message in sites["messages"]]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """`corpus build --source NAME=DIR[,DIR…] … --out=C`."""
    parser = argparse.ArgumentParser(prog="python -m babel_jax corpus", description=__doc__)
    build_parser = parser.add_subparsers(dest="command", required=True).add_parser("build", help="make a corpus")
    build_parser.add_argument(
        "--source",
        action="append",
        required=True,
        metavar="NAME=DIR[,DIR…]",
        help="a language and the folders or archives of its source files; once a language, the primary one first",
    )
    build_parser.add_argument("--out", type=Path, required=True, help="where the corpus is put; must not exist")
    build_parser.add_argument("--vocab_size", type=int, default=8192, help="tokens of the vocabulary (%(default)s)")
    build_parser.add_argument("--max_length", type=int, default=256, help="tokens a model sees at once (%(default)s)")
    options = parser.parse_args(arguments)
    source_paths = {}
    for source in options.source:
        name, equals, paths = source.partition("=")
        if not equals or not paths:
            raise UserError(f"--source {source} has no folder; write it as NAME=FOLDER[,FOLDER…].")
        if name in source_paths:
            raise UserError(f"--source {name} is given twice; write its folders behind each other, with commas.")
        source_paths[name] = [Path(path) for path in paths.split(",")]
    corpus = build(source_paths, options.out, vocab_size=options.vocab_size, max_length=options.max_length)
    print(report(corpus))
    print(f"corpus: {options.out}")
