"""`python -m babel_jax VERB …`: the verbs of the project. `python -m babel_jax VERB --help` explains each."""

import argparse
import ast
import contextlib
import importlib.util
import logging
import os
import signal
import sys
import warnings
from pathlib import Path

from babel_jax.cli import arguments as kinds
from babel_jax.common import limits, machine
from babel_jax.common.errors import Parser, UserError, printable, refusal, shown, unknown_name

VERBS = {
    "study": "the whole story: train, measure, propose a corpus, train on it, report",
    "corpus": "source files to token rows; what is in them; mixtures of them",
    "train": "train one run of a study",
    "probe": "all probes over any checkpoints: losses, lens, neurons, alignment, interventions",
    "evaluate": "problem suites: write, run in a sandbox, judge, score; or measure one run of a study",
    "optimize": "the corpus that Algorithm 1 asks for, with intervals, from a study or a table of losses",
    "compile": "compile a run's train step and probe for hardware that need not be here, and say what they cost",
    "convert": "convert a Hugging Face GPT-2 into a run, or a checkpoint into a Hugging Face GPT-2",
    "report": "make a study's report again from its measurements",
    "doctor": "say what this machine has: devices, sandbox, toolchains; and try them",
}


def main(arguments: list[str]) -> int:
    """Runs a verb; returns the exit status. A `UserError` becomes one line on stderr and status 2."""
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            known = "\n".join(f"  {verb:9s} {text}" for verb, text in VERBS.items())
            print(f"usage: python -m babel_jax VERB …\n\n{known}", flush=True)
            return 0 if arguments else 2
        if arguments[0] not in VERBS:
            raise unknown_name("verb", arguments[0], VERBS)
        globals()[arguments[0]](arguments[1:])
        _wait_for_the_others()
        sys.stdout.flush()  # here, where a full disk is still an error that is told
    except _preempted():
        print("preempted; all is saved, and the same command goes on where this one stopped.", file=sys.stderr)
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        if _output_is_read():
            raise
        return 128 + signal.SIGPIPE
    except Exception as error:
        if (refused := refusal(error)) is None:
            raise
        print(f"error: {refused}", file=sys.stderr)
        return 2
    return 0


class _OneLine(logging.Formatter):
    """What is logged, in one line that a terminal shows as it is."""

    def format(self, record):
        return printable(super().format(record))


def _open_the_output() -> None:
    """Output that is closed swallows what is written; characters that it cannot show become escapes, in the log too."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):  # a lower number is taken first
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.getLogger("babel_jax").addHandler(handler)


def _output_is_read() -> bool:
    """False if whoever read the output has enough, as `head` does; what would still be written is then dropped."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _wait_for_the_others() -> None:
    """Of several hosts, one may have more to write at the end: none leaves before all are done."""
    hosts = sys.modules.get("babel_jax.training.hosts")
    if hosts:
        hosts.barrier("end")


def _preempted() -> type[BaseException] | tuple:
    """The exception of a run that ends because its machine is taken away; nothing where no run was even loaded."""
    module = sys.modules.get("babel_jax.training.preemption")
    return module.Preempted if module else ()


def load_config(path: str, settings: list[str]):
    """The study config that `get_config()` of a file returns, with `--config.KEY=VALUE` settings applied.

    Raises:
      UserError: a file or a setting that gives no config, in one line that names the key.
    """
    from ml_collections import ConfigDict

    from babel_jax.common import schema
    from babel_jax.study import plan

    given = schema.from_python(path, "config", "configs/")
    if not isinstance(given, ConfigDict):
        raise UserError(f"get_config() of {path} returns {shown(given)}; it must return a ConfigDict.")
    changes = plan.STUDY.check(given)
    for setting in settings:
        key, equals, text = setting.removeprefix("--config.").partition("=")
        if not setting.startswith("--config.") or not equals:
            raise UserError(f"cannot read the argument '{setting}'; settings are written --config.KEY=VALUE.")
        value = _literal(text)
        for part in reversed(key.split(".")):
            value = {part: value}
        changes = schema.merged(changes, plan.STUDY.check(value))
    return plan.from_changes(changes)


def _literal(text: str):
    """The Python literal that a setting gives; anything else is text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" would be told about on stderr
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _cache() -> Path:
    """The cache directory: compiled programs, and what the toolchains make."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "babel_jax"


def _use_cpu_well(threads: int | None) -> None:
    """Compiles once for all processes and runs; with `threads`, each process computes with that many, always the same.

    The number of threads decides the order of sums, so a study fixes it: its bits do not depend on the machine's cores.
    """
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache() / "xla"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if threads:
        os.environ["NPROC"] = str(threads)
        flags = os.environ.get("XLA_FLAGS", "")
        if "xla_cpu_multi_thread_eigen" not in flags:
            os.environ["XLA_FLAGS"] = (
                f"{flags} --xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}".strip()
            )


def _default_jobs() -> int:
    """One run per core; one at a time where an accelerator belongs to this process alone."""
    accelerated = any(importlib.util.find_spec(name) for name in ("jax_cuda12_plugin", "jax_cuda13_plugin", "libtpu"))
    if accelerated and os.environ.get("JAX_PLATFORMS") != "cpu":
        return 1
    return machine.cores()


def _parser(verb: str) -> argparse.ArgumentParser:
    return Parser(prog=f"python -m babel_jax {verb}", description=VERBS[verb], allow_abbrev=False)


# Options of several verbs.


def _config_option(parser, whose: str = "a file of configs/", required: bool = True) -> None:
    parser.add_argument("--config", required=required, help=f"{whose}; --config.KEY=VALUE changes one of its keys")
    parser.add_argument(
        "--help_config", action=kinds.Explain, text=_config_help, help="list all keys of a config, and exit"
    )


def _config_help() -> str:
    from babel_jax.common import schema
    from babel_jax.study import plan

    about = "Keys of a config, in its file or as --config.KEY=VALUE; what is left out is as here."
    return f"{about}\n\n{schema.explained(plan.STUDY)}"


def _seed_option(parser, default: int | None = 0, whose: str | None = None) -> None:
    parser.add_argument("--seed", type=kinds.integer(0, limits.LARGEST_SEED), default=default, help=whose)


def _checkpoints_option(parser, **settings) -> None:
    parser.add_argument(
        "--checkpoints", nargs="+", help="run directories or globs of them, such as 'W/seed*/continual'", **settings
    )


def _steps_option(parser) -> None:
    parser.add_argument(
        "--steps",
        type=kinds.steps,
        default=(),
        help="which checkpoints: last, or a list: 0,640 (default: all)",
    )


def _study_arguments(verb: str, arguments: list[str]):
    parser = _parser(verb)
    _config_option(parser)
    parser.add_argument(
        "--workdir", type=kinds.place, required=True, help="where runs, measurements and the report are kept"
    )
    if verb == "study":
        parser.add_argument(
            "--jobs", type=kinds.jobs(), default=_default_jobs(), help="runs side by side (default: %(default)s)"
        )
    else:
        parser.add_argument("--run", required=True, help="its name in the study, such as continual or mix_0.5000")
        _seed_option(parser, whose="the run's seed (default: %(default)s)")
        parser.add_argument(
            "--mixture",
            type=kinds.place,
            metavar="FILE",
            help="a mixture file of `corpus mix` or `optimize`, for this run or for --run=mix",
        )
    if verb == "train":
        parser.add_argument(
            "--profile",
            type=kinds.place,
            metavar="DIR",
            help="write a profiler's trace of a few steps (TensorBoard, XProf)",
        )
        parser.add_argument("--probe", action="store_true", help="measure each checkpoint as soon as it is saved")
    _several_hosts(parser)
    parsed, settings = parser.parse_known_args(arguments)
    config = load_config(parsed.config, settings)
    from babel_jax.study.plan import Study
    from babel_jax.training import hosts

    hosts.initialize(parsed.coordinator, parsed.processes, parsed.process)
    return parsed, Study(config, parsed.workdir)


def _one_run(parsed, study):
    """The study and the job that `train` and `evaluate` name."""
    from babel_jax.study.jobs import Job

    name = study.name(parsed.run)
    return study.with_mixture(name, parsed.mixture) if parsed.mixture else study, Job(parsed.seed, name)


def _several_hosts(parser) -> None:
    several = parser.add_argument_group(
        "several hosts", "found automatically on a TPU pod and under srun; elsewhere give all three"
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    several.add_argument(
        "--processes", type=kinds.integer(1, 10**6), metavar="N", help="how many there are; all run the same command"
    )
    several.add_argument("--process", type=kinds.integer(0, 10**6), metavar="I", help="which this one is, from 0")


def study(arguments: list[str]) -> None:
    _use_cpu_well(threads=1)
    parsed, asked = _study_arguments("study", arguments)
    from babel_jax import report as folder
    from babel_jax.study import jobs as room
    from babel_jax.training import hosts, preemption

    if parsed.jobs > 1 and hosts.several():
        raise UserError(f"--jobs is {parsed.jobs}; several hosts train one run at a time: add --jobs=1.")
    preemption.install()
    room.run(asked, parsed.jobs)
    built = folder.build(parsed.workdir)
    print(built.table)
    print(f"\nreport: {printable(built.page)}")


def corpus(arguments: list[str]) -> None:
    from babel_jax.cli import corpus as corpora

    corpora.main(arguments)


def train(arguments: list[str]) -> None:
    _use_cpu_well(threads=None)
    parsed, asked = _study_arguments("train", arguments)
    from babel_jax.study import jobs as room
    from babel_jax.training import preemption

    preemption.install()
    room.train_one(*_one_run(parsed, asked), parsed.profile, parsed.probe)


def probe(arguments: list[str]) -> None:
    _use_cpu_well(threads=None)
    parsed, settings = _probe_arguments(arguments)
    from tqdm import tqdm

    from babel_jax.measuring import probe_walk as room
    from babel_jax.measuring import walk
    from babel_jax.study import texts
    from babel_jax.training import hosts, preemption

    hosts.initialize(parsed.coordinator, parsed.processes, parsed.process)
    preemption.install()
    same = (
        "languages",
        "steps",
        "layers",
        "threshold_scope",
        "reference_step",
        "definitions",
        "interventions",
        "restore",
    )
    options = room.Options(
        **{name: getattr(parsed, name) for name in same},
        tuned_steps=parsed.tuned_lens,
        draws=parsed.random_sets,
        restore_step=parsed.restore_step,
    )
    read = texts.ProbeTexts(
        config=load_config(parsed.config, settings) if parsed.config else None,
        **{name: getattr(parsed, name) for name in ("seed", "corpus", "languages", "rows", "prompt_tokens")},
        prompts=parsed.prompts,
        identifiers=parsed.identifiers,
    )
    runs = walk.run_directories(parsed.checkpoints)
    interval = 0.5 if sys.stderr.isatty() else 15
    with tqdm(desc="probe", unit="checkpoint", dynamic_ncols=True, file=sys.stderr, mininterval=interval) as bar:

        def progress(message):
            bar.total = message["checkpoints"]
            bar.set_description(printable(message["run"]), refresh=False)
            bar.update(message["checkpoint"] - bar.n)

        for place in room.probe(runs, read, parsed.out, options, parsed.follow, progress):
            bar.write(f"measurements: {printable(place)}/measurements", file=sys.stdout)


def _probe_arguments(arguments: list[str]):
    """(the arguments of `probe`, read, its --config.KEY=VALUE); what contradicts each other is refused."""
    parser = _parser("probe")
    _checkpoints_option(parser, required=True)
    parser.add_argument("--out", type=kinds.place, required=True, help="where counters and measurements are kept")
    _add_texts(parser)
    _steps_option(parser)
    _add_neurons(parser)
    _add_causes(parser)
    parser.add_argument("--follow", action="store_true", help="wait for further checkpoints until each run is done")
    _several_hosts(parser)
    parsed, settings = parser.parse_known_args(arguments)
    if settings and not parsed.config:
        raise UserError(f"cannot read the argument '{settings[0]}'; `probe --help` names them all.")
    parser.only_with(not parsed.corpus, "the texts of a study, not with those of --corpus", "config", "seed")
    parser.only_with(parsed.corpus, "--corpus", "rows")
    parser.only_with(parsed.corpus or parsed.prompts, "--corpus or --prompts", "prompt_tokens")
    parser.only_with(parsed.interventions, "--interventions", "random_sets")
    return parsed, settings


def _add_texts(parser) -> None:
    what = parser.add_argument_group("what is read", "by default the texts of the study that a run belongs to")
    _config_option(what, "of another study", required=False)
    _seed_option(what, None, "of the embedded world; by default each run's own")
    what.add_argument("--corpus", type=kinds.local, help="a directory that `corpus build` made")
    what.add_argument("--languages", type=kinds.names, default=(), help="the primary first, then at least one other")
    what.add_argument(
        "--rows",
        type=kinds.integer(1),
        default=64,
        help="with --corpus: held-out rows a language (default: %(default)s)",
    )
    what.add_argument(
        "--prompt_tokens",
        type=kinds.integer(1),
        default=64,
        help="with --corpus or --prompts: context (default: %(default)s)",
    )
    what.add_argument(
        "--prompts", type=kinds.place, help="a file of prompts of your own (JSON Lines, see probes/prompts.py)"
    )
    what.add_argument(
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


def convert(arguments: list[str]) -> None:
    parser = _parser("convert")
    parser.add_argument(
        "--huggingface",
        type=kinds.place,
        required=True,
        metavar="DIR",
        help="folder with config.json and model.safetensors",
    )
    parser.add_argument("--run", type=kinds.place, required=True, metavar="DIR", help="a run's directory")
    parser.add_argument(
        "--step",
        type=kinds.integer(0, limits.LARGEST_STEP),
        help="write this checkpoint of the run to --huggingface; without it: read",
    )
    parsed = parser.parse_args(arguments)
    from babel_jax.training import foreign

    if parsed.step is None:
        foreign.import_run(parsed.huggingface, parsed.run)
    else:
        foreign.export_run(parsed.run, parsed.step, parsed.huggingface)


def evaluate(arguments: list[str]) -> None:
    _use_cpu_well(threads=None)
    if any(argument.partition("=")[0] == "--suite" for argument in arguments):
        _evaluate_suites(arguments)
        return
    parsed, asked = _study_arguments("evaluate", arguments)
    from babel_jax.study import jobs as room
    from babel_jax.training import preemption

    preemption.install()
    room.measure_one(*_one_run(parsed, asked))


def _evaluate_suites(arguments: list[str]) -> None:
    parsed = _suite_arguments(arguments)
    from babel_jax.measuring import walk
    from babel_jax.study import texts
    from babel_jax.suites import harness, judge, results
    from babel_jax.training import hosts, preemption

    for other in filter(None, (parsed.against, parsed.primary_only, parsed.new_only)):
        results.place_of(other)  # asked now, not after the judging
    hosts.initialize(parsed.coordinator, parsed.processes, parsed.process)
    preemption.install()
    names = ("variant", "samples", "temperature", "top_p", "seed", "new_tokens", "k", "compat", "likelihood")
    options = harness.Options(**{name: getattr(parsed, name) for name in names})
    read = texts.SuiteTexts(tuple(parsed.suite), parsed.languages, parsed.corpus)
    if parsed.checkpoints:
        runs = walk.run_directories(parsed.checkpoints)
    else:
        suites = read.given()
        given = (
            harness.solutions(suites, options.variant)
            if parsed.solutions
            else harness.read_completions(parsed.completions, printable(Path(parsed.completions).stem))
        )
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(_progress_bar())
        bench = None
        if hosts.is_first() and options.samples:
            bench = judge.Bench(parsed.sandbox, parsed.jobs, _cache() / "toolchains")
            stack.callback(bench.close)
        session = harness.Session(parsed.out, options, bench, progress)
        if parsed.checkpoints:
            places = harness.evaluate_runs(runs, read, parsed.steps, session)
        else:
            place, missing = harness.evaluate_completions(suites, given, session)
            if missing and hosts.is_first():
                print(f"{missing} problems have no completion among {given.name} and are left out of the scores.")
            places = [place]
    if hosts.is_first():
        for place in places:
            _tell_results(place, parsed)


def _tell_results(place, parsed) -> None:
    from babel_jax.report import suite_figures as suites_report
    from babel_jax.suites import results

    print(results.summary(place.folder))
    if parsed.against:
        print(results.compared(place.folder, parsed.against, place.suites))
    if parsed.primary_only:
        given = (parsed.primary_only, parsed.new_only)
        print(results.knowledge(place.folder, *given, place.suites, *parsed.languages))
    for figure in suites_report.build(place.folder):
        print(f"figure: {printable(figure)}")


@contextlib.contextmanager
def _progress_bar():
    """A bar on stderr; yields the function that moves it: (what is done, how many are done, of how many)."""
    from tqdm import tqdm

    interval = 0.5 if sys.stderr.isatty() else 15
    with tqdm(desc="evaluate", unit="", dynamic_ncols=True, file=sys.stderr, mininterval=interval) as bar:

        def progress(doing: str, done: int, of: int) -> None:
            bar.total = of
            bar.set_description(doing, refresh=False)
            bar.update(done - bar.n)

        yield progress


def _suite_arguments(arguments: list[str]):
    """The arguments of `evaluate --suite`, read; what contradicts each other is refused."""
    parser = _parser("evaluate")
    _add_whose(parser)
    _add_writing(parser)
    _add_judging(parser)
    _several_hosts(parser)
    parsed = parser.parse_args(arguments)
    parser.only_with(
        parsed.checkpoints, "--checkpoints", *("steps", "corpus", "temperature", "top_p", "seed", "new_tokens")
    )
    parser.only_with(not parsed.solutions, "--checkpoints or --completions", "samples")
    parser.only_with("temperature" in parser.given, "--temperature", "top_p", "seed")
    parser.only_with(parsed.samples, "completions to judge, not with --samples=0", "k", "compat", "sandbox", "jobs")
    if bool(parsed.primary_only) != bool(parsed.new_only):
        raise UserError("the share of the primary's knowledge needs both models: --primary_only and --new_only.")
    if parsed.primary_only and len(parsed.languages) != 2:
        raise UserError("the share of the primary's knowledge needs --languages=PRIMARY,NEW.")
    return parsed


def _add_whose(parser) -> None:
    parser.add_argument(
        "--suite",
        action="append",
        required=True,
        metavar="FORMAT:PATH",
        help="mxeval, multipl_e, humaneval_x, openai, mbpp or own, and a file or folder; or world, the embedded world's own",
    )
    parser.add_argument("--languages", type=kinds.names, default=(), help="of the suites (default: all that they have)")
    parser.add_argument(
        "--out", type=kinds.place, required=True, help="where completions, verdicts and measurements are kept"
    )
    what = parser.add_argument_group("whose completions").add_mutually_exclusive_group(required=True)
    _checkpoints_option(what)
    what.add_argument(
        "--completions",
        type=kinds.place,
        metavar="FILE",
        help="JSON Lines of task_id and completion, made elsewhere; several for one problem are distinguished by sample: 0, 1, …",
    )
    what.add_argument("--solutions", action="store_true", help="the suites' reference solutions")


def _add_writing(parser) -> None:
    writing = parser.add_argument_group("how they are written")
    _steps_option(writing)
    writing.add_argument(
        "--corpus",
        type=kinds.local,
        help="a corpus whose tokenizer is the model's (default: that of the run's study)",
    )
    writing.add_argument("--variant", default="raw", help="raw, strip_newline, no_persona or two with a + between them")
    writing.add_argument(
        "--samples",
        type=kinds.integer(0, 10**6),
        default=1,
        help="completions a problem (default: %(default)s; 0: none)",
    )
    writing.add_argument("--temperature", type=kinds.number(0, 100), default=0.0, help="0: greedy (default)")
    writing.add_argument(
        "--top_p", type=kinds.number(0, 1, above=True), default=1.0, help="nucleus (default: %(default)s, all)"
    )
    _seed_option(writing, whose="of the samples")
    writing.add_argument("--new_tokens", type=kinds.integer(1), default=512, help="at most (default: %(default)s)")
    writing.add_argument("--likelihood", action="store_true", help="also bits per byte of the reference solutions")


def _add_judging(parser) -> None:
    judging = parser.add_argument_group("how they are judged")
    judging.add_argument(
        "--k", type=kinds.integers(1), default=(1,), help="numbers of tries, such as 1,10 (default: 1)"
    )
    judging.add_argument("--compat", help="judge by the rule of mxeval or multipl_e instead of ours")
    judging.add_argument("--sandbox", default="bubblewrap", help="the least isolation: bubblewrap, unshare or rlimits")
    judging.add_argument(
        "--jobs", type=kinds.jobs(), default=machine.cores(), help="programs side by side (default: %(default)s)"
    )
    comparing = parser.add_argument_group("beside other results (folders that --out has filled)")
    comparing.add_argument(
        "--against", type=kinds.place, metavar="DIR", help="paired differences to the same problems' results there"
    )
    comparing.add_argument(
        "--primary_only",
        type=kinds.place,
        metavar="DIR",
        help="with --new_only: the share of primary's knowledge",
    )
    comparing.add_argument("--new_only", type=kinds.place, metavar="DIR")


def optimize(arguments: list[str]) -> None:
    from babel_jax.cli import optimize as proposals

    proposals.main(arguments)


def compile(arguments: list[str]) -> None:
    parser = _parser("compile")
    _config_option(parser)
    parser.add_argument("--topology", required=True, help="v5e:4x4, v5p:4x4x4, 2*v5e:16x16 (two slices), cpu:8 or gpu")
    parser.add_argument("--run", default="continual", help="which run of the study (default: %(default)s)")
    parsed, settings = parser.parse_known_args(arguments)
    kind, _, count = parsed.topology.partition(":")
    if kind != "gpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # libtpu is to compile, not to look for a TPU
    from babel_jax.study import aot, plan

    aot.check_topology(parsed.topology)
    if kind == "cpu" and count:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={count}".strip()
    config = load_config(parsed.config, settings)
    asked = plan.Study(config)
    run, shapes = asked.shapes_of(asked.name(parsed.run))
    devices = aot.devices_of(parsed.topology)
    fits = True
    for compiled in (aot.compile_step, aot.compile_probe):
        report = compiled(run, shapes, devices)
        if report.program.table:
            print(report.program.table + "\n")
        print(aot.describe(report) + "\n")
        fits = fits and report.fits
    if not fits:
        raise UserError(
            f"it does not fit {parsed.topology}; raise accumulation, set model.remat='full', or take more chips."
        )


def report(arguments: list[str]) -> None:
    parser = _parser("report")
    parser.add_argument("--workdir", type=kinds.place, required=True, help="a study's directory")
    parsed = parser.parse_args(arguments)
    from babel_jax import report as room

    print(f"report: {printable(room.build(parsed.workdir).page)}")


def doctor(arguments: list[str]) -> None:
    _parser("doctor").parse_args(arguments)
    import jax

    from babel_jax.suites import capabilities as room

    print(f"jax {jax.__version__}: {jax.device_count()} x {jax.devices()[0].device_kind}")
    print(room.table(room.examine(_cache() / "toolchains")))


if __name__ == "__main__":
    _open_the_output()
    status = main(sys.argv[1:])
    if status == 2:  # threads that still wait for a lost disk or bucket would hold the process for minutes
        with contextlib.suppress(OSError):  # what could not be written has been told
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
