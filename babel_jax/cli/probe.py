"""Measures any checkpoints with all probes: losses, lens, neurons, alignment, interventions.

Checkpoints are those of runs, or a series that others have published: each is fetched, probed and deleted. The texts that they
read are those of the study that a run belongs to, unless others are given. Checkpoints already measured are skipped. At the end
a table is printed, and OUT/report/index.html is the page that `report --workdir=OUT` makes again.

python -m babel_jax probe --checkpoints 'runs/tiny/seed*/continual' --out=runs/probes

python -m babel_jax probe --series=configs/series/pythia_160m.yaml --out=runs/pythia --texts=python=DIR,php=DIR
"""

from babel_jax.cli import environment, kinds, options
from babel_jax.cli.output import progress_bar
from babel_jax.cli.parser import Arguments
from babel_jax.common import limits
from babel_jax.common.errors import UserError, printable


def add_arguments(parser) -> None:
    options.add_checkpoints(parser)
    _add_series(parser)
    parser.add_argument("--out", type=kinds.place, required=True, help="where counters and measurements are kept")
    _add_texts(parser)
    options.add_steps(parser)
    _add_neurons(parser)
    _add_causes(parser)
    parser.add_argument("--follow", action="store_true", help="wait for further checkpoints until each run is done")
    options.add_several_hosts(parser)


def _add_series(parser) -> None:
    series = parser.add_argument_group("a series elsewhere", "in place of --checkpoints")
    series.add_argument(
        "--series", type=kinds.place, metavar="FILE", help="a series file, such as those of configs/series/"
    )
    series.add_argument(
        "--huggingface", metavar="NAME", help="a model of the hub, OWNER/NAME, whose revisions are probed"
    )
    series.add_argument(
        "--revisions",
        metavar="GLOB",
        help="with --huggingface: which; the first * stands for the step, such as 'step*'",
    )
    series.add_argument(
        "--tokens_per_step",
        type=kinds.count(1, limits.MOST_TOKENS),
        help="with --huggingface: tokens that the model sees in an update",
    )
    series.add_argument("--runs", type=kinds.names, default=(), help="which runs of --series (default: all)")
    series.add_argument(
        "--keep_downloads", action="store_true", help="leave what is fetched in the hub's cache, where others find it"
    )
    series.add_argument(
        "--dry_run",
        action="store_true",
        help="print revisions, steps, tokens, bytes, disk and time, and fetch no model",
    )


def _add_texts(parser) -> None:
    texts = parser.add_argument_group("what is read", "by default the texts of the study that a run belongs to")
    options.add_config(texts, "of another study", required=False)
    options.add_seed(texts, "of the embedded world; by default each run's own", default=None)
    texts.add_argument("--corpus", type=kinds.local, help="a directory that `corpus build` made")
    texts.add_argument(
        "--texts",
        metavar="NAME=DIR,NAME=DIR…",
        help="files of each language (folders, archives, tables), the primary first, read with the model's own tokenizer; or "
        "the file of a manifest, which names columns of tables and languages of your own too",
    )
    texts.add_argument("--languages", type=kinds.names, default=(), help="the primary first, then at least one other")
    texts.add_argument(
        "--rows",
        type=kinds.integer(1),
        default=64,
        help="with --corpus or --texts: held-out rows a language (default: %(default)s)",
    )
    texts.add_argument(
        "--row_tokens",
        type=kinds.integer(2),
        default=512,
        help="with --texts: tokens of a row, at most as many as the model reads (default: %(default)s)",
    )
    texts.add_argument(
        "--prompts_per_pair",
        type=kinds.integer(1),
        default=20,
        help="with --texts: the most prompts of a pair of identifiers in a language (default: %(default)s)",
    )
    texts.add_argument(
        "--prompt_tokens",
        type=kinds.integer(1),
        default=64,
        help="with --corpus, --texts or --prompts: context (default: %(default)s)",
    )
    texts.add_argument(
        "--prompts", type=kinds.place, help="a file of prompts of your own (JSON Lines, see probes/prompts.py)"
    )
    texts.add_argument(
        "--parallel",
        metavar="NAME=FILE,NAME=FILE…",
        help="files of sentences that say the same line by line: how often a model's states find the translation, by layer",
    )
    texts.add_argument(
        "--identifiers",
        default="first",
        help="which tokens stand for an identifier: first, prefix or sequence (default: %(default)s)",
    )


def _add_neurons(parser) -> None:
    parser.add_argument(
        "--layers",
        type=kinds.integers(0, "inner", "middle"),
        default="inner",
        help="inner, middle, or a list: 2,3 (default: %(default)s)",
    )
    parser.add_argument(
        "--active",
        default="activation",
        help="a neuron is active where its activation (of a gated FFN its gate), or its value (gate times input), is "
        "positive: activation (default) or value",
    )
    parser.add_argument(
        "--threshold_scope",
        default="per_checkpoint",
        help="where LAPE's thresholds come from: per_checkpoint (default), pooled or reference_checkpoint",
    )
    parser.add_argument(
        "--reference_step",
        type=kinds.integer(0, limits.LARGEST_STEP),
        help="the checkpoint of --threshold_scope=reference_checkpoint",
    )
    parser.add_argument(
        "--definitions",
        type=kinds.names,
        default=(),
        help="also find neurons by pls, centroid_type1, centroid_type2 or causal; each takes passes of its own",
    )
    parser.add_argument(
        "--tuned_lens",
        type=kinds.integer(0, 10**6),
        default=0,
        metavar="STEPS",
        help="train a tuned lens with so many steps for each checkpoint (default: none)",
    )


def _add_causes(parser) -> None:
    parser.add_argument(
        "--interventions", type=kinds.names, default=(), help="change each language's neurons: zero, mean or both"
    )
    parser.add_argument(
        "--random_sets",
        type=kinds.integer(1, 10**4),
        default=20,
        help="random sets of neurons to compare --interventions with (default: %(default)s)",
    )
    parser.add_argument(
        "--restore",
        type=_parts,
        default=(),
        help="take these parts of the parameters from --restore_step, such as embed_table;head[3]",
    )
    parser.add_argument(
        "--restore_step",
        type=kinds.integer(0, limits.LARGEST_STEP),
        help="the step of the same run that --restore takes them from",
    )


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";") if part.strip())  # commas stand inside brackets


def run(arguments: Arguments) -> None:
    _refuse_contradictions(arguments)
    environment.configure_jax()
    from babel_jax.measuring import probe_walk, series_plan
    from babel_jax.training import preemption

    options.join_hosts(arguments)
    preemption.install()
    texts, measured = _texts(arguments), _measured(arguments)
    sources = _sources(arguments)
    if arguments.dry_run:
        for line in series_plan.lines(sources, texts, arguments.out, arguments.steps):
            print(printable(line))
        return
    with progress_bar("probe", "checkpoint") as (bar, progress):

        def at_checkpoint(message: dict) -> None:
            progress(message["run"], message["checkpoint"], message["checkpoints"])

        for place in probe_walk.probe(sources, texts, arguments.out, measured, arguments.follow, at_checkpoint):
            bar.write(f"measurements: {printable(place)}/measurements")
    _report(arguments.out)


def _report(out) -> None:
    from babel_jax import report
    from babel_jax.training import hosts

    if hosts.is_first():
        made = report.build_probe(out)
        print(f"{made.table}\nreport: {printable(made.page)}")


def _sources(arguments: Arguments) -> list:
    from babel_jax.measuring import series, walk

    if arguments.checkpoints:
        return [walk.OwnRun(run_dir) for run_dir in walk.run_directories(arguments.checkpoints)]
    if arguments.series:
        named = series.read(arguments.series)
    else:
        named = series.of_model(arguments.huggingface, arguments.revisions, arguments.tokens_per_step)
    return series.sources(named, arguments.out, arguments.runs, arguments.keep_downloads)


def _refuse_contradictions(arguments: Arguments) -> None:
    given = [name for name in ("checkpoints", "series", "huggingface") if getattr(arguments, name)]
    if len(given) != 1:
        raise UserError("give --checkpoints of runs, --series=FILE or --huggingface=NAME: exactly one of them.")
    elsewhere = "a series elsewhere (--series or --huggingface)"
    arguments.only_with(not arguments.checkpoints, elsewhere, "keep_downloads", "dry_run")
    arguments.only_with(arguments.checkpoints, "--checkpoints", "restore", "restore_step")
    arguments.only_with(arguments.series, "--series", "runs")
    arguments.only_with(arguments.huggingface, "--huggingface", "revisions", "tokens_per_step")
    if arguments.huggingface and not (arguments.revisions and arguments.tokens_per_step):
        raise UserError(
            "--huggingface needs --revisions and --tokens_per_step; or give --series=FILE, which says them."
        )
    corpus, texts, prompts = arguments.corpus, arguments.texts, arguments.prompts
    arguments.only_with(not corpus, "the texts of a study, not with those of --corpus", "config", "seed")
    arguments.only_with(not corpus, "the model's own tokenizer, not with that of --corpus", "texts")
    arguments.only_with(not texts, "the texts of a study, not with --texts", "config", "seed")
    arguments.only_with(corpus or texts, "--corpus or --texts", "rows")
    arguments.only_with(texts, "--texts", "row_tokens")
    arguments.only_with(texts and not prompts, "--texts and no --prompts", "prompts_per_pair")
    arguments.only_with(corpus or texts or prompts, "--corpus, --texts or --prompts", "prompt_tokens")
    arguments.only_with(arguments.interventions, "--interventions", "random_sets")


def _texts(arguments: Arguments):
    from babel_jax.cli.settings import load_config
    from babel_jax.corpus import loose_texts
    from babel_jax.study.texts import ProbeTexts

    names = ("seed", "corpus", "languages", "rows", "row_tokens", "prompts_per_pair", "prompt_tokens")
    names += ("prompts", "identifiers", "parallel")
    return ProbeTexts(
        config=load_config(arguments.config, arguments.settings) if arguments.config else None,
        texts=loose_texts.parsed(arguments.texts) if arguments.texts else None,
        **{name: getattr(arguments, name) for name in names},
    )


def _measured(arguments: Arguments):
    from babel_jax.measuring.probe_walk import Options

    names = (
        "languages",
        "steps",
        "layers",
        "active",
        "threshold_scope",
        "reference_step",
        "definitions",
        "interventions",
        "restore",
    )
    return Options(
        **{name: getattr(arguments, name) for name in names},
        tuned_steps=arguments.tuned_lens,
        draws=arguments.random_sets,
        restore_step=arguments.restore_step,
    )
