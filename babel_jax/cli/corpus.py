"""The verb `corpus`: build one, tell what is in it, plan and verify mixtures. It stands above all rooms: it reads the suites
that a build must not contain, and draws the figure of what the cleaning left.
"""

import argparse
import shlex

from babel_jax.cli import arguments as kinds
from babel_jax.common.errors import Parser, UserError, printable
from babel_jax.common.schema import explained
from babel_jax.corpus import build, corpus_files, manifest, verify
from babel_jax.corpus.build_folder import shared_work
from babel_jax.corpus.phases.order import PHASES
from babel_jax.corpus.records import SPLITS, LanguageStats
from babel_jax.languages.registry import language

COMMANDS = {
    "build": "source files to token rows",
    "stats": "what was read, dropped and kept, and its tokens",
    "mix": "shares of the languages by a policy, and how often each is repeated",
    "verify": "whether a corpus is what was built, or what a finished run was really trained on",
}


def main(arguments: list[str]) -> None:
    """`corpus build|stats|mix|verify …`."""
    prog = "python -m babel_jax corpus"
    parser = Parser(prog=prog, description="source trees to token rows, and mixtures of them", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    of_command = {}
    for command, text in COMMANDS.items():
        # `mix` reads its own arguments, --help too.
        of_command[command] = added = commands.add_parser(
            command, help=text, description=text, add_help=command != "mix", allow_abbrev=False
        )
        {"build": _build_arguments, "stats": _stats_arguments, "verify": _verify_arguments}.get(
            command, lambda _: None
        )(added)
    if arguments[:1] == ["mix"]:
        from babel_jax.corpus import mixture_files

        mixture_files.main(arguments[1:])
        return
    options = parser.parse_args(arguments)
    if options.command == "build":
        _check_build(of_command["build"], options)
    {"build": _build, "stats": _stats, "verify": _verify}[options.command](options)


def _build_arguments(parser):
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
        "--help_manifest",
        action=kinds.Explain,
        text=lambda: f"Keys of a manifest; what it leaves out is as here.\n\n{explained(manifest.MANIFEST)}",
        help="list all keys of a manifest, and exit",
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


def _check_build(parser, options):
    """Refuses options that nothing would read."""
    if options.shard and not options.phase:
        raise UserError("--shard is a part of a phase; name it with --phase.")
    if options.phase and options.beam is not None:
        raise UserError("--beam does all phases; leave --phase out.")
    parser.only_with(
        options.phase in (None, *PHASES), "a phase that has shards, not with start or finish", "shard"
    )
    parser.only_with(options.beam is None, "a build on this machine, not with --beam, whose runner decides", "jobs")


def _build(options):
    asked = _manifest(options)
    benchmarks = _benchmarks(asked)
    if options.phase:
        # A source that was touched meanwhile must not cost what hours of shards have done.
        work = build.start(asked, options.out, benchmarks, anew=options.phase == "start")
        with shared_work(work):
            if options.phase in PHASES:
                first, step = options.shard or (0, 1)
                build.run_tasks(work, options.phase, build.tasks(work, options.phase)[first::step], options.jobs)
            if options.phase != "finish":
                return
            build.finish(work, options.out)
    elif options.beam is not None:
        from babel_jax.corpus import beam

        beam.build(asked, options.out, benchmarks=benchmarks, options=shlex.split(options.beam))
    else:
        build.build(asked, options.out, benchmarks=benchmarks, jobs=options.jobs)
    corpus = corpus_files.load(options.out)
    print(report(corpus))
    for figure in _figures(corpus):
        print(f"figure: {printable(figure)}")
    print(f"corpus: {printable(options.out)}")


def _manifest(options) -> manifest.Manifest:
    sizes = {name: getattr(options, name) for name in ("vocab_size", "max_length")}
    sizes = {name: size for name, size in sizes.items() if size is not None}
    if options.manifest:
        return manifest.load(options.manifest, **sizes)
    paths = {}
    for source in options.source:
        name, equals, places = source.partition("=")
        if not equals or not places:
            raise UserError(f"--source {source} has no folder; write it as NAME=FOLDER[,FOLDER…].")
        if name in paths:
            raise UserError(f"--source {name} is given twice; write its folders behind each other, with commas.")
        paths[name] = places.split(",")  # as text: a Path would lose a slash of gs://
    return manifest.of_sources(paths, **{"vocab_size": 8192, "max_length": 256} | sizes)


def _benchmarks(asked: manifest.Manifest) -> list[tuple[str, str]]:
    """(name, text) of every prompt and solution of the suites that the manifest wants kept out, in its languages."""
    texts = []
    if asked.clean.decontaminate:
        from babel_jax.suites import problems

        for spec in asked.clean.decontaminate:
            for problem in problems.load(spec, tuple(asked.languages)).problems:
                name = "/".join(problem.key)
                texts.append((f"{name} prompt", problem.prompt))
                if problem.solution:
                    texts.append((f"{name} solution", problem.solution))
    return texts


def _shard(text: str) -> tuple[int, int]:
    try:
        number, of = map(kinds.integer(0), text.split("/"))
    except (ValueError, argparse.ArgumentTypeError):
        raise UserError(f"--shard is {text}; write it as I/N, such as 0/8.") from None
    if not 0 <= number < of:
        raise UserError(f"--shard is {text}; the shards of {of} are 0 to {of - 1}.")
    return number, of


def _figures(corpus):
    from babel_jax.report import funnel  # it loads pandas and matplotlib

    return funnel.build(corpus.directory)


def _stats_arguments(parser):
    parser.add_argument("corpus", type=kinds.local, help="a folder that `corpus build` made")


def _stats(options):
    corpus = corpus_files.load(options.corpus)
    print(report(corpus))
    for figure in _figures(corpus):
        print(f"figure: {printable(figure)}")


def _verify_arguments(parser):
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("corpus", type=kinds.local, nargs="?", help="a folder that `corpus build` made")
    what.add_argument(
        "--run", type=kinds.place, help="instead: a finished run, whose counts are compared with its mixture"
    )


def _verify(options):
    if options.run:
        from babel_jax.corpus import mixture_files

        problems = mixture_files.verify_run(options.run)
        for problem in problems:
            print(printable(problem))
        if problems:
            raise UserError(f"{options.run} was not trained on what its stages say; do not use it as if it were.")
        return
    problems = verify.faults(options.corpus)
    for problem in problems:
        print(printable(problem))
    if problems:
        raise UserError(f"{options.corpus} is not as it was built ({len(problems)} faults); build it again.")
    print(
        f"{printable(options.corpus)}: every file is as it was built, and the held-out rows decode to the held-out documents."
    )


def report(corpus: corpus_files.Corpus) -> str:
    """What was kept and what was dropped, in lines for the terminal."""
    stats = corpus.stats
    lines = [line for name, of in stats.languages.items() for line in _language_lines(language(name).title, of)]
    for pair, sites in stats.call_sites.items():
        lines.append(f"call sites {pair}:")
        for names, *counts in zip(sites.pairs, *sites.prompts.values(), strict=True):
            given = [f"{count} in {name}" for name, count in zip(sites.prompts, counts, strict=True)]
            lines.append(f"  {names}: {', '.join(given)}")
        lines += [f"  {message}" for message in sites.messages]
    return "\n".join(lines)


def _language_lines(title: str, stats: LanguageStats) -> list[str]:
    found = stats.cleaning["found"]
    lines = [f"{title}: {found.files} files, {found.bytes / 1e6:.1f} MB found"]
    for reason, amount in stats.cleaning.items():
        if amount.files and reason != "found":
            reason = reason if reason in ("kept", "redacted") else f"dropped: {reason.replace('_', ' ')}"
            lines.append(f"  {reason}: {amount.files} files, {amount.bytes / 1e6:.2f} MB")
    if stats.redactions:
        kinds = ", ".join(f"{count} x {kind.replace('_', ' ')}" for kind, count in stats.redactions.items())
        lines.append(f"  redacted in what is kept: {kinds}")
    if stats.contaminated:
        names = list(map(printable, stats.contaminated))
        lines.append(f"  {len(names)} benchmark problems found: {', '.join(names[:5] + ['…'] * (len(names) > 5))}")
    for split in SPLITS:
        part = stats.of(split)
        lines.append(
            f"  {split}: {part.documents} files, {part.bytes / 1e6:.2f} MB, {part.tokens / 1e6:.3f} M tokens "
            f"({part.bytes_per_token:.2f} bytes each), {part.rows} rows"
        )
    return lines
