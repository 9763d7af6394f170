"""Builds a corpus: source files are cleaned, divided by project, tokenised and packed into rows.

A build that was stopped goes on where it stopped, and the corpus is the same to the byte.

python -m babel_jax corpus build --source=python=PY --source=php=PHP --out=corpora/mine
"""

import argparse
import shlex

from babel_jax.cli import corpus_stats, kinds
from babel_jax.cli.parser import Arguments, Explain
from babel_jax.common.errors import UserError, printable


def add_arguments(parser) -> None:
    from babel_jax.corpus.phases.order import PHASES

    what = parser.add_argument_group("what of what").add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--manifest",
        metavar="FILE",
        type=kinds.place,
        help="a .yaml, .json or .py; configs/corpora has some",
    )
    what.add_argument(
        "--source",
        action="append",
        metavar="NAME=DIR[,DIR…]",
        help="instead: a language and the folders or archives of its files; once a language, the primary one first",
    )
    parser.add_argument(
        "--help_manifest", action=Explain, text=_manifest_help, help="list all keys of a manifest, and exit"
    )
    parser.add_argument(
        "--vocab_size",
        type=kinds.integer(1),
        help="tokens of the vocabulary (the manifest's; 8192 with --source)",
    )
    parser.add_argument(
        "--max_length",
        type=kinds.integer(1),
        help="tokens a model sees at once (the manifest's; 256 with --source)",
    )
    parser.add_argument("--out", type=kinds.local, required=True, help="where the corpus is put")
    parser.add_argument(
        "--jobs", type=kinds.jobs(), help="processes side by side (default: one a core); the corpus is the same"
    )
    parser.add_argument(
        "--beam",
        nargs="?",
        const="",
        metavar="OPTIONS",
        help="on Apache Beam instead, with these pipeline options: --beam='--runner=FlinkRunner --flink_master=host:8081'",
    )
    shards = parser.add_argument_group(
        "in shards", "all shards of a phase, on any hosts that share --out; then the next"
    )
    shards.add_argument(
        "--phase",
        choices=["start", *PHASES, "finish"],
        help="do this phase alone; start: divide the sources into pieces (shards that run at once need that first); finish: "
        "give --out its name",
    )
    shards.add_argument("--shard", type=_shard, metavar="I/N", help="do only the I-th of N parts of the phase, from 0")


def _manifest_help() -> str:
    from babel_jax.common.schema import explained
    from babel_jax.corpus import manifest

    return f"Keys of a manifest; what it leaves out is as here.\n\n{explained(manifest.MANIFEST)}"


def _shard(text: str) -> tuple[int, int]:
    try:
        number, of = map(kinds.integer(0), text.split("/"))
    except (ValueError, argparse.ArgumentTypeError):
        raise UserError(f"--shard is {text}; write it as I/N, such as 0/8.") from None
    if not 0 <= number < of:
        raise UserError(f"--shard is {text}; the shards of {of} are 0 to {of - 1}.")
    return number, of


def run(arguments: Arguments) -> None:
    from babel_jax.corpus import build
    from babel_jax.corpus.build_folder import shared_work
    from babel_jax.corpus.phases.order import PHASES

    _refuse_contradictions(arguments, PHASES)
    manifest = _manifest(arguments)
    benchmarks = _benchmarks(manifest)
    if arguments.phase:
        # A source that was touched meanwhile must not cost what hours of shards have done.
        work = build.start(manifest, arguments.out, benchmarks, anew=arguments.phase == "start")
        with shared_work(work):
            if arguments.phase in PHASES:
                first, step = arguments.shard or (0, 1)
                tasks = build.tasks(work, arguments.phase)[first::step]
                build.run_tasks(work, arguments.phase, tasks, arguments.jobs)
            if arguments.phase != "finish":
                return
            build.finish(work, arguments.out)
    elif arguments.beam is not None:
        from babel_jax.corpus import beam

        beam.build(manifest, arguments.out, benchmarks=benchmarks, options=shlex.split(arguments.beam))
    else:
        build.build(manifest, arguments.out, benchmarks=benchmarks, jobs=arguments.jobs)
    corpus_stats.print_stats(arguments.out)
    print(f"corpus: {printable(arguments.out)}")


def _refuse_contradictions(arguments: Arguments, phases) -> None:
    if arguments.shard and not arguments.phase:
        raise UserError("--shard is a part of a phase; name it with --phase.")
    if arguments.phase and arguments.beam is not None:
        raise UserError("--beam does all phases; leave --phase out.")
    has_shards = arguments.phase in (None, *phases)
    arguments.only_with(has_shards, "a phase that has shards, not with start or finish", "shard")
    here = arguments.beam is None
    arguments.only_with(here, "a build on this machine, not with --beam, whose runner decides", "jobs")


def _manifest(arguments: Arguments):
    from babel_jax.corpus import manifest

    sizes = {name: getattr(arguments, name) for name in ("vocab_size", "max_length")}
    sizes = {name: size for name, size in sizes.items() if size is not None}
    if arguments.manifest:
        return manifest.load(arguments.manifest, **sizes)
    paths = {}
    for source in arguments.source:
        name, equals, places = source.partition("=")
        if not equals or not places:
            raise UserError(f"--source {source} has no folder; write it as NAME=FOLDER[,FOLDER…].")
        if name in paths:
            raise UserError(f"--source {name} is given twice; write its folders behind each other, with commas.")
        paths[name] = places.split(",")  # as text: a Path would lose a slash of gs://
    return manifest.of_sources(paths, **{"vocab_size": 8192, "max_length": 256} | sizes)


def _benchmarks(manifest) -> list[tuple[str, str]]:
    """(name, text) of every prompt and solution of the suites that the manifest wants kept out, in its languages."""
    texts = []
    if manifest.clean.decontaminate:
        from babel_jax.suites import suite_files

        for spec in manifest.clean.decontaminate:
            for problem in suite_files.load(spec, tuple(manifest.languages)).problems:
                name = "/".join(problem.key)
                texts.append((f"{name} prompt", problem.prompt))
                if problem.solution:
                    texts.append((f"{name} solution", problem.solution))
    return texts
