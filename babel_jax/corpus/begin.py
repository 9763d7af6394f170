"""How a build begins: what it is to build, whether that or something else is there already, and the plan that the tasks read."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import babel_jax
from babel_jax.common.errors import UserError, printable
from babel_jax.common.files import content_hash, differences, read_json, sha256, write_json
from babel_jax.corpus import corpus_files, dictionaries, fact_sources, sources, tokenizer
from babel_jax.corpus.build_folder import is_corpus, read_plan, work_folder
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.phases.select_documents import VALIDATION_SHARE
from babel_jax.corpus.phases.vocabulary import SAMPLE_BYTES
from babel_jax.corpus.records import REBUILD, Plan, Wanted


def wanted_of(manifest: Manifest, benchmarks: list[tuple[str, str]]) -> Wanted:
    """What decides what the corpus will hold."""
    if bool(manifest.clean.decontaminate) != bool(benchmarks):
        raise ValueError("the texts of the benchmarks belong to the manifest's clean.decontaminate")
    record = manifest.record()
    settings = {"format": corpus_files.FORMAT, "validation_share": VALIDATION_SHARE, "sample_bytes": SAMPLE_BYTES}
    settings |= {key: value for key, value in record.items() if key not in ("languages", "tokenizer")}
    if manifest.tokenizer:
        settings["tokenizer"] = tokenizer.load(manifest.tokenizer).sha
    settings["clean"] = record["clean"] | {"decontaminate": content_hash(benchmarks) if benchmarks else False}
    settings["languages"] = {
        name: asked | {"sources": [{k: v for k, v in source.items() if k != "path"} for source in asked["sources"]]}
        for name, asked in record["languages"].items()
    }
    if manifest.dictionaries:
        hashes = [[sha256(file) for file in dictionaries.files_of(one.path)] for one in manifest.dictionaries]
        settings["dictionaries"] = [
            {"headwords": one.headwords, "translations": one.translations, "sha256": hashed}
            for one, hashed in zip(manifest.dictionaries, hashes, strict=True)
        ]
    for name, given in manifest.languages.items():
        if given.nouns:
            settings["languages"][name]["nouns"] = content_hash(sorted(dictionaries.nouns(given.nouns)))
    if given := manifest.facts:
        fingerprint = fact_sources.KINDS[given.kind].fingerprint
        of_facts = {key: value for key, value in record["facts"].items() if key != "path"}
        settings["facts"] = of_facts | ({"sha256": fingerprint(given.path)} if fingerprint else {})
    inputs = {name: sources.fingerprint(manifest, name) for name in manifest.languages}
    return Wanted(*json.loads(json.dumps([settings, inputs])))  # as it comes back from a file


def _differences(wanted: Wanted, there: Wanted) -> list[str]:
    differs = [key for key, *_ in differences(vars(there), vars(wanted))]
    # The order of the languages is part of the corpus, and JSON objects keep it.
    if not differs and list(wanted.inputs) != list(there.inputs):
        differs = ["the order of the languages"]
    return differs


def existing(out: Path, wanted: Wanted) -> corpus_files.Corpus:
    """The corpus that stands in `out`.

    Raises:
      UserError: it is another one, or something else.
    """
    if not is_corpus(out) or not (out / "inputs.json").exists():
        raise UserError(f"{out} exists and is not a corpus; give --out a folder that is not there yet.")
    manifest = corpus_files.read_contents(out)
    differs = _differences(wanted, Wanted(manifest.settings, read_json(out / "inputs.json", dict, REBUILD)))
    if differs:
        raise UserError(f"{out} holds another corpus (it differs in {', '.join(differs)}); choose another --out.")
    shutil.rmtree(work_folder(out), ignore_errors=True)  # left by a build that was killed when all was done
    return corpus_files.load(out)


def _left_plan(work) -> Plan | None:
    return read_plan(work) if (work / "plan.json").exists() else None


def is_begun(work: Path, wanted: Wanted, manifest: Manifest) -> bool:
    """Whether this very build was begun in the folder, of sources that stand where they stood."""
    there = _left_plan(work)
    # As text, in which the order of the languages counts.
    return there is not None and json.dumps(there.record()) == json.dumps(
        Plan(wanted, manifest, there.pieces, babel_jax.__version__).record()
    )


def begin(manifest: Manifest, out: Path, benchmarks: list[tuple[str, str]], wanted: Wanted, anew: bool = True) -> Path:
    """Writes what the tasks need to know, unless it is there, and returns the folder; see `build.start`."""
    work = work_folder(out)
    if is_begun(work, wanted, manifest):
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
