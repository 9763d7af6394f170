"""Evaluates on problem suites: writes programs, runs them in a sandbox, judges and scores them; or measures one run of a study.

With --suite it writes the completions of --checkpoints, or takes those of --completions, or the suites' own --solutions, and
needs --out. Without, it measures what a study measures of a run, and needs --config, --workdir and --run.

python -m babel_jax evaluate --suite=world --checkpoints 'runs/tiny/seed*/continual' --steps=last --out=runs/results

python -m babel_jax evaluate --config=configs/organism.py:tiny --workdir=runs/tiny --run=continual
"""

import contextlib
from pathlib import Path

from babel_jax.cli import environment, kinds, options
from babel_jax.cli.output import progress_bar
from babel_jax.cli.parser import Arguments
from babel_jax.common import machine
from babel_jax.common.errors import UserError, printable

OF_A_RUN = ("config", "workdir", "run")
OF_CHECKPOINTS = ("steps", "corpus", "temperature", "top_p", "seed", "new_tokens")
OF_JUDGING = ("k", "compat", "sandbox", "jobs")
OF_SUITES = (
    *("languages", "out", "checkpoints", "completions", "solutions", "steps", "corpus", "variant", "samples"),
    *("temperature", "top_p", "new_tokens", "likelihood", *OF_JUDGING, "against", "primary_only", "new_only"),
)


def add_arguments(parser) -> None:
    _add_suites(parser.add_argument_group("problem suites"))
    whose = parser.add_argument_group("with --suite: whose completions").add_mutually_exclusive_group()
    options.add_checkpoints(whose)
    whose.add_argument(
        "--completions",
        type=kinds.place,
        metavar="FILE",
        help="JSON Lines of task_id and completion, made elsewhere; several for one problem are distinguished by sample: 0, 1, …",
    )
    whose.add_argument("--solutions", action="store_true", help="the suites' reference solutions")
    _add_writing(parser.add_argument_group("with --suite: how they are written"))
    _add_judging(parser.add_argument_group("with --suite: how they are judged"))
    _add_comparing(parser.add_argument_group("with --suite: beside other results (folders that --out has filled)"))
    study = parser.add_argument_group("one run of a study, without --suite")
    options.add_config(study, required=False)
    options.add_workdir(study, required=False)
    options.add_run(study, required=False)
    options.add_seed(parser, "of the samples, or of the run (default: %(default)s)")
    options.add_several_hosts(parser)


def _add_suites(suites) -> None:
    suites.add_argument(
        "--suite",
        action="append",
        metavar="FORMAT:PATH",
        help="mxeval, multipl_e, humaneval_x, openai, mbpp or own, and a file or folder; or world, the embedded world's own",
    )
    suites.add_argument("--languages", type=kinds.names, default=(), help="of the suites (default: all that they have)")
    suites.add_argument("--out", type=kinds.place, help="where completions, verdicts and measurements are kept")


def _add_writing(writing) -> None:
    options.add_steps(writing)
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
    writing.add_argument("--new_tokens", type=kinds.integer(1), default=512, help="at most (default: %(default)s)")
    writing.add_argument("--likelihood", action="store_true", help="also bits per byte of the reference solutions")


def _add_judging(judging) -> None:
    judging.add_argument(
        "--k", type=kinds.integers(1), default=(1,), help="numbers of tries, such as 1,10 (default: 1)"
    )
    judging.add_argument("--compat", help="judge by the rule of mxeval or multipl_e instead of ours")
    judging.add_argument("--sandbox", default="bubblewrap", help="the least isolation: bubblewrap, unshare or rlimits")
    judging.add_argument(
        "--jobs", type=kinds.jobs(), default=machine.cores(), help="programs side by side (default: %(default)s)"
    )


def _add_comparing(comparing) -> None:
    comparing.add_argument(
        "--against", type=kinds.place, metavar="DIR", help="paired differences to the same problems' results there"
    )
    comparing.add_argument(
        "--primary_only",
        type=kinds.place,
        metavar="DIR",
        help="with --new_only: the share of the primary's knowledge; the results of a model of the primary language alone",
    )
    comparing.add_argument(
        "--new_only", type=kinds.place, metavar="DIR", help="the results of a model of the new language alone"
    )


def run(arguments: Arguments) -> None:
    environment.configure_jax()
    if arguments.suite:
        _refuse_contradictions(arguments)
        _evaluate_suites(arguments)
    else:
        _measure_run(arguments)


def _measure_run(arguments: Arguments) -> None:
    arguments.only_with(False, "--suite", *OF_SUITES)
    if missing := [f"--{name}" for name in OF_A_RUN if getattr(arguments, name) is None]:
        raise UserError(
            f"{' and '.join(missing)} must be given to measure a run of a study; for problem suites give --suite."
        )
    study, job = options.open_run(arguments)
    from babel_jax.study import jobs
    from babel_jax.training import preemption

    preemption.install()
    jobs.measure_one(study, job)


def _refuse_contradictions(arguments: Arguments) -> None:
    arguments.only_with(False, "a run of a study, not with --suite", *OF_A_RUN, "mixture")
    if not arguments.out:
        raise UserError("--suite needs --out, where completions, verdicts and measurements are kept; give it.")
    if not (arguments.checkpoints or arguments.completions or arguments.solutions):
        raise UserError("--suite needs to know whose completions: give --checkpoints, --completions or --solutions.")
    arguments.only_with(arguments.checkpoints, "--checkpoints", *OF_CHECKPOINTS)
    arguments.only_with(not arguments.solutions, "--checkpoints or --completions", "samples")
    arguments.only_with("temperature" in arguments.given, "--temperature", "top_p", "seed")
    arguments.only_with(arguments.samples, "completions to judge, not with --samples=0", *OF_JUDGING)
    if bool(arguments.primary_only) != bool(arguments.new_only):
        raise UserError("the share of the primary's knowledge needs both models: --primary_only and --new_only.")
    if arguments.primary_only and len(arguments.languages) != 2:
        raise UserError("the share of the primary's knowledge needs --languages=PRIMARY,NEW.")


def _evaluate_suites(arguments: Arguments) -> None:
    from babel_jax.study.texts import SuiteTexts
    from babel_jax.suites import harness, judge, results
    from babel_jax.training import hosts, preemption

    for other in filter(None, (arguments.against, arguments.primary_only, arguments.new_only)):
        results.place_of(other)  # asked now, not after the judging
    options.join_hosts(arguments)
    preemption.install()
    names = ("variant", "samples", "temperature", "top_p", "seed", "new_tokens", "k", "compat", "likelihood")
    settings = harness.Options(**{name: getattr(arguments, name) for name in names})
    texts = SuiteTexts(tuple(arguments.suite), arguments.languages, arguments.corpus)
    evaluate = _of_checkpoints(arguments, texts) if arguments.checkpoints else _of_completions(arguments, texts)
    with contextlib.ExitStack() as stack:
        _, progress = stack.enter_context(progress_bar("evaluate"))
        bench = None
        if hosts.is_first() and settings.samples:
            bench = judge.Bench(arguments.sandbox, arguments.jobs, environment.cache_directory() / "toolchains")
            stack.callback(bench.close)
        places = evaluate(harness.Session(arguments.out, settings, bench, progress))
    if hosts.is_first():
        for place in places:
            _print_results(place, arguments)


def _of_checkpoints(arguments: Arguments, texts):
    """What evaluates all checkpoints in a session, and returns the places of their results."""
    from babel_jax.measuring import walk
    from babel_jax.suites import harness

    runs = walk.run_directories(arguments.checkpoints)
    return lambda session: harness.evaluate_runs(runs, texts, arguments.steps, session)


def _of_completions(arguments: Arguments, texts):
    """What evaluates completions that were made elsewhere in a session, and returns the place of the results, as a list."""
    from babel_jax.suites import harness
    from babel_jax.training import hosts

    suites = texts.given()
    if arguments.solutions:
        completions = harness.solutions(suites, arguments.variant)
    else:
        completions = harness.read_completions(arguments.completions, printable(Path(arguments.completions).stem))

    def evaluate(session) -> list:
        place, missing = harness.evaluate_completions(suites, completions, session)
        if missing and hosts.is_first():
            print(f"{missing} problems have no completion among {completions.name} and are left out of the scores.")
        return [place]

    return evaluate


def _print_results(place, arguments: Arguments) -> None:
    from babel_jax.report import suite_figures
    from babel_jax.suites import results

    print(results.summary(place.folder))
    if arguments.against:
        print(results.compared(place.folder, arguments.against, place.suites))
    if arguments.primary_only:
        models = (arguments.primary_only, arguments.new_only)
        print(results.knowledge(place.folder, *models, place.suites, *arguments.languages))
    for figure in suite_figures.build(place.folder):
        print(f"figure: {printable(figure)}")
