"""Says how much of each language a corpus should hold, by Algorithm 1, with intervals; from a study or a table of losses.

FILE of --csv has one row for each checkpoint of each continual run. It needs the columns language (the new one), seed, step,
tokens (of the new language seen; 0 is the primary's model), loss (held-out, nats per token), score (0 to 1) and n (problems
behind it); it may have loss_error, knowledge_share and working_language (with several primaries one for each:
working_language_python, …). Only numpy, scipy and pandas read it.

python -m babel_jax optimize --csv=losses.csv --primary=python --original=python=11e9,php=23e9 --out=mixture.json
"""

import dataclasses
import math

from babel_jax.cli import kinds, options
from babel_jax.cli.parser import Arguments
from babel_jax.common import files, limits
from babel_jax.common.errors import UserError, printable, unknown_name

SCHEDULE = "schedule"
WORTH_SAYING = 0.01  # how far a share of several primaries is off their proportions


def add_arguments(parser) -> None:
    from babel_jax.optimum import eq3

    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", "--study", type=kinds.place, help="a study's directory")
    what.add_argument("--csv", type=kinds.place, metavar="FILE", help="losses and scores of continual runs")
    table = parser.add_argument_group("with --csv")
    table.add_argument(
        "--primary", type=kinds.names, metavar="NAME,…", help="the languages that the models were trained on first"
    )
    table.add_argument(
        "--original", type=_amounts, metavar="NAME=TOKENS,…", help="the corpus to change: python=11e9,php=23e9"
    )
    table.add_argument(
        "--assume",
        type=kinds.names,
        default=(),
        metavar="NAME,…",
        help="languages that depend on the primary without a test of it",
    )
    parser.add_argument(
        "--source",
        default="loss",
        help="the share's: loss (default), loss_knowledge, knowledge_share, working_language (--csv) or calibrated, where "
        "they were measured; or, of a study, schedule",
    )
    parser.add_argument("--reading", default="pairwise", choices=eq3.READINGS, help="of Eq. 2 and 3")
    constraints = parser.add_argument_group("constraints")
    constraints.add_argument(
        "--budget",
        type=kinds.number(0, limits.MOST_TOKENS, above=True),
        help="tokens in all (default: of a study's mixes; or what comes out)",
    )
    options.add_max_epochs(constraints)
    constraints.add_argument(
        "--min_share", type=kinds.number(0, 1), default=0.0, help="of all tokens, for every language"
    )
    parser.add_argument(
        "--out", type=kinds.place, metavar="FILE", help="where a mixture file is written that `train` reads"
    )


def _amounts(text: str) -> dict[str, float]:
    """{language: tokens} of an argument such as python=11e9,php=23e9."""
    from babel_jax.optimum.table import number

    amounts = {}
    for part in text.split(","):
        name, _, tokens = (piece.strip() for piece in part.partition("="))
        if not name or not limits.FEWEST_TOKENS <= number(tokens) <= limits.MOST_TOKENS:
            raise UserError(
                f"--original has '{part}'; write NAME=TOKENS, tokens above 0 and up to {limits.MOST_TOKENS:g}: python=11e9."
            )
        if name in amounts:
            raise UserError(f"--original has {name} twice; give each language once.")
        amounts[name] = number(tokens)
    return amounts


def run(arguments: Arguments) -> None:
    _refuse_contradictions(arguments)
    mixture = (_of_csv if arguments.csv else _of_study)(arguments)
    if arguments.out:
        from babel_jax.corpus import mixture_files

        mixture_files.write(arguments.out, mixture)
        out = printable(arguments.out)
        print(f"\nmixture: {out}; train it with --run=mix --mixture={out}")


def _refuse_contradictions(arguments: Arguments) -> None:
    primaries, original = arguments.primary, arguments.original
    if not arguments.csv:
        if primaries or original or arguments.assume:
            raise UserError("--primary, --original and --assume go with --csv; a study says them itself.")
        return
    if not (primaries and original):
        raise UserError("--csv needs --primary and --original: --primary=python --original=python=11e9,php=23e9.")
    if arguments.source == SCHEDULE:
        raise UserError("a schedule needs a study, with runs of several replay shares: --workdir.")
    if len(primaries) > 1 and arguments.min_share:
        raise UserError("--min_share goes with one primary: several keep their proportions; leave it out.")
    for name in primaries:
        if name not in original:
            raise UserError(f"--original has no {name}; give the primary's tokens too: {name}=11e9,….")


# --- a study --------------------------------------------------------------------------------------------------------------


def _of_study(arguments: Arguments):
    """Prints what a study proposes; the mixture file where one is wanted."""
    from babel_jax.optimum import best_corpus, share_sources
    from babel_jax.study import analysis

    of_study = analysis.of_study(arguments.workdir)
    if arguments.source == SCHEDULE:
        return _of_schedule(arguments, of_study)
    proposals = {language: here.proposals for language, here in of_study.languages.items()}
    if not any(proposals.values()):
        raise UserError(f"the study in {arguments.workdir} has no proposal: {' '.join(of_study.missing)}")
    chosen = _chosen(proposals, arguments.source, SCHEDULE)
    study, available, tokens = of_study.study, {}, None
    if arguments.out or arguments.max_epochs:
        available, tokens = _mix_of(arguments.workdir, study)
    constraints = _constraints(arguments, available, tokens if arguments.budget is None else arguments.budget)
    whole = sum(study.original.values())  # in any unit, such as billions; the corpus is in tokens of the run
    original = {language: amount / whole * (constraints.budget or whole) for language, amount in study.original.items()}
    corpus = best_corpus.corpus(chosen, study.primary, original, arguments.reading, constraints)
    print(f"{arguments.source}\n{table(chosen)}\n\n{corpus_table(corpus, original)}")
    calibrated = share_sources.CALIBRATED
    if arguments.source != calibrated and any(calibrated in of for of in proposals.values()):
        print("The calibrated share predicts the measured one better at checkpoints left out: --source=calibrated.")
    if of_study.schedules and of_study.schedules.proposal:
        print("The continual runs with replay propose an order of training, too: --source=schedule.")
    return arguments.out and mixture(arguments.source, chosen, corpus, available)


def _chosen(proposals: dict[str, dict], source: str, *others: str) -> dict:
    """{language: its proposal from one source}; those of the other sources are printed, for comparison.

    `others`: what else may be asked for, for the error.
    """
    known = list({name: None for of_language in proposals.values() for name in of_language})
    if source not in known:
        raise unknown_name("source", source, [*known, *others])
    by_source = {name: {language: of[name] for language, of in proposals.items() if name in of} for name in known}
    for name, of_source in by_source.items():
        if name != source:
            print(f"{name}\n{table(of_source)}\n")
    for language in sorted(proposals.keys() - by_source[source].keys()):
        print(f"{language}: it has no {source}, and keeps its tokens.")
    return by_source[source]


def _of_schedule(arguments: Arguments, of_study):
    from babel_jax.corpus import mixture_files

    schedule = of_study.schedules and of_study.schedules.proposal
    if not schedule:
        raise UserError(f"the study in {arguments.workdir} has no schedule; it needs continual runs with `replay`.")
    constrained = arguments.budget is not None or arguments.max_epochs or arguments.min_share
    if constrained or arguments.reading == "joint":
        raise UserError(
            "a schedule is as long as the study's mixes, and measured, not read off Eq. 3; leave --budget, --max_epochs, "
            "--min_share and --reading out."
        )
    for number, stage in enumerate(schedule.stages):
        size = f"{stage['tokens']:,} tokens" if stage["tokens"] else "the rest"
        print(f"stage {number}, {size}: " + ", ".join(f"{name} {w:.4g}" for name, w in stage["weights"].items()))
    print(schedule.reason)
    if not arguments.out:
        return None
    available, tokens = _mix_of(arguments.workdir, of_study.study)
    made = {"by": "optimize", "source": SCHEDULE, "proposal": _plain(schedule)}
    return mixture_files.compose(made, schedule.stages, available, tokens)


def _mix_of(workdir, study) -> tuple[dict[str, int], int]:
    """(tokens that there are of each source, tokens of a run) of a study's from-scratch mixes."""
    from babel_jax.training import drawn

    mix = next((run for run in study.runs if run.name.role == "mix" and run.name.mix), None)
    if mix is None:
        raise UserError(
            f"the study in {workdir} trained no mix, so nothing says for how many tokens; add the role 'mix'."
        )
    _, done, row_tokens = drawn.finished(files.path(workdir) / f"seed{mix.seed}" / str(mix.name))
    return {source: counts.rows * row_tokens for source, counts in done.sources.items()}, done.tokens


def _constraints(arguments: Arguments, available: dict[str, float], budget: float | None):
    from babel_jax.optimum.best_corpus import Constraints

    if not arguments.max_epochs:
        return Constraints(budget=budget, min_share=arguments.min_share)
    return Constraints(budget, available, arguments.max_epochs, arguments.min_share)


# --- a table of losses and scores -----------------------------------------------------------------------------------------


def _of_csv(arguments: Arguments):
    """Prints what a table of losses and scores proposes; the mixture file where one is wanted."""
    from babel_jax.optimum import algorithm1, best_corpus
    from babel_jax.optimum import table as losses

    original, primaries, assumed = arguments.original, arguments.primary, arguments.assume
    of_primaries = {name: original[name] for name in primaries}
    observed = losses.read_csv(arguments.csv, of_primaries)
    for name in assumed:
        if name not in observed:
            raise unknown_name("language of the table", name, observed)
    merged = "+".join(primaries)  # in Eq. 3 they stand as one
    sizes = {merged: sum(of_primaries.values())}
    sizes |= {name: tokens for name, tokens in original.items() if name not in primaries}
    proposals = {}
    for language, observation in observed.items():
        if language not in original:
            raise UserError(f"--original has no {language}; give its tokens: {language}=….")
        amounts = algorithm1.Amounts(sizes[merged], original[language])
        proposals[language] = losses.of_observation(observation, amounts, language in assumed)
    chosen = _chosen(proposals, arguments.source)
    constraints = _constraints(arguments, sizes, arguments.budget)
    corpus = best_corpus.corpus(chosen, merged, sizes, arguments.reading, constraints)
    corpus = best_corpus.split_primaries(corpus, merged, of_primaries)
    print(f"{arguments.source}\n{table(chosen)}\n\n{corpus_table(corpus, original)}")
    for language, proposal in chosen.items():
        _print_residuals(observed[language], proposal.best_step, primaries)
    return arguments.out and mixture(arguments.source, chosen, corpus, original)


def _print_residuals(observation, best_step: int, primaries) -> None:
    """Says where a language leans on the primaries in other proportions than those of the corpus."""
    for name, residual_CxP in observation.residuals.items():
        residual_P = residual_CxP[observation.steps.tolist().index(best_step)]
        if abs(residual_P).max() > WORTH_SAYING:
            far = ", ".join(f"{of} {100 * value:+.0f}" for of, value in zip(primaries, residual_P, strict=True))
            print(f"{observation.language}: its {name} at the peak is off the primaries' proportions by {far} points.")


# --- what is shown and written --------------------------------------------------------------------------------------------


def table(proposals: dict) -> str:
    """Algorithm 1's proposals in lines for the terminal."""
    from babel_jax.optimum.algorithm1 import readable

    lines = [f"{'language':10s} {'P*':>6s}  {'95 % interval':16s} {'step':>6s} {'tokens':>7s}  95 % interval"]
    for language, proposal in proposals.items():
        if math.isnan(proposal.p_star):
            lines.append(f"{language:10s} {'-':>6s}  {'not determined':16s} {proposal.best_step:6d} {'-':>7s}")
            continue
        low, high = proposal.p_star_ci
        interval = "none" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        least, most = map(readable, proposal.tokens_ci)
        lines.append(
            f"{language:10s} {proposal.p_star:6.4f}  {interval:16s} {proposal.best_step:6d} "
            f"{readable(proposal.tokens):>7s}  {least} to {most}"
        )
    return "\n".join(lines)


def corpus_table(corpus, original: dict[str, float]) -> str:
    """The corpus that is made of the proposals, and why, in lines for the terminal; tokens in the unit of `original`."""
    from babel_jax.optimum.algorithm1 import readable

    lines = [f"{'language':10s} {'original':>8s} {'asked':>8s} {'corpus':>8s} {'share':>7s}  decision"]
    for language, tokens in corpus.tokens.items():
        sizes = (original[language], corpus.unconstrained[language], tokens)
        decision = corpus.decisions.get(language, "as it is")
        amounts = " ".join(f"{readable(size):>8s}" for size in sizes)
        lines.append(f"{language:10s} {amounts} {corpus.shares[language]:7.2%}  {decision}")
    active = ", ".join(corpus.active) or "no constraint"
    lines.append(f"corpus of {readable(corpus.total)} tokens, {corpus.reading} reading; binding: {active}")
    return "\n".join(lines + list(corpus.reasons.values()))


def mixture(source: str, proposals: dict, corpus, available: dict[str, float]):
    """The mixture file of a corpus: one stage, weights in whole ten-thousandths, so that blocks are short."""
    from babel_jax.corpus import mixture_files

    weights = {language: round(share, 4) for language, share in corpus.shares.items()}
    stages = [{"tokens": 0, "weights": {language: weight for language, weight in weights.items() if weight}}]
    made = {"by": "optimize", "source": source, "corpus": _plain(corpus), "proposals": _plain(proposals)}
    return mixture_files.compose(made, stages, available, round(corpus.total))


def _plain(value):
    """A value as JSON can hold it: no replicates, and null where a number is infinite or not there."""
    if dataclasses.is_dataclass(value):
        value = {name: part for name, part in vars(value).items() if name != "replicates_R"}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if hasattr(value, "tolist"):  # an array or a number of numpy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
