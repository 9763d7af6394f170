"""Says how much of each language a corpus should hold, with intervals: by the peak of its scores, or by Algorithm 1.

FILE of --csv has one row for each checkpoint of each continual run. It needs the columns language (the new one), seed, tokens (of
the new language seen; 0 is the primary's model) and score (0 to 1). It may have step, n (problems behind the score), loss
(held-out, nats per token), loss_error, knowledge_share, working_language (with several primaries one for each:
working_language_python, …) and functional_neurons. Only numpy, scipy and pandas read it.

python -m babel_jax optimize --csv=configs/examples/continual_scores.csv --primary=python --original=python=11e9,php=23e9
"""

import dataclasses
import math

from babel_jax.cli import kinds, options
from babel_jax.cli.parser import Arguments
from babel_jax.common import files, limits
from babel_jax.common.errors import UserError, printable, unknown_name

SCHEDULE = "schedule"
LEGEND = """P*: the primary's share in the model at its best checkpoint, which is `step`.
tokens: of the language, by Eq. 3 from P*, or those seen at its peak.
asked: the same where the decision is `change`; else what the corpus has.
corpus: what was asked for, within the constraints.
decision: whether the data support a change; only `change` makes one."""
FEWEST = 1e-3  # of the original corpus: a peak below that was counted in another unit
WORTH_SAYING = 0.01  # how far a share of several primaries is off their proportions


def add_arguments(parser) -> None:
    from babel_jax.optimum import eq3

    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", "--study", type=kinds.place, help="a study's directory")
    what.add_argument("--csv", type=kinds.place, metavar="FILE", help="scores of continual runs, and losses")
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
        help="languages that depend on the primary, or fall after their peak, where that cannot be tested",
    )
    parser.add_argument(
        "--source",
        help="what asks for the tokens: peak_tokens, or the share by loss (the paper's), loss_knowledge, knowledge_share, "
        "working_language, functional_neurons or calibrated, where they were measured; or, of a study, schedule. Default: the "
        "one with the least mean regret in the stored table, or the paper's where none is stored",
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


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What every source asks for, {source: {language: …}}, and {language: what its peak asks for}, which is a source too."""

    by_share: dict[str, dict]
    peaks: dict

    @property
    def sources(self) -> list[str]:
        from babel_jax.optimum import peak_tokens

        return [*self.by_share, *([peak_tokens.SOURCE] if self.peaks else [])]

    def of(self, source: str) -> dict:
        return self.by_share.get(source, self.peaks)


def _asked(proposals: dict[str, dict], peaks: dict, reading: str) -> _Asked:
    """`proposals`: {language: {source: …}}; the peaks are not read off Eq. 3, and have no joint reading."""
    known = dict.fromkeys(name for of_language in proposals.values() for name in of_language)
    by_share = {name: {language: of[name] for language, of in proposals.items() if name in of} for name in known}
    return _Asked(by_share, {} if reading == "joint" else peaks)


def _source(arguments: Arguments, asked: _Asked, *others: str) -> str:
    """The source that was asked for, or the default one, and then why; what the other sources say is printed before.

    `others`: what else may be asked for, for the error.
    """
    from babel_jax.optimum import regret_table

    rows, source, why = regret_table.stored(), arguments.source, ""
    if source is None:
        source, why = regret_table.choose(asked.sources, rows)
    elif source not in asked.sources:
        if arguments.reading == "joint" and source == "peak_tokens":
            raise UserError("the tokens at the peak are not read off Eq. 3; leave --reading out.")
        raise unknown_name("source", source, [*asked.sources, *others])
    for name in sorted(asked.sources, key=lambda name: name == source):
        fared = (
            [f"{rows.get(regret_table.optimiser_of(name), 'not among those whose regret is known')}"] if rows else []
        )
        print("\n".join([name, table(asked.of(name)), *fared, ""]))
    for language in sorted({name for one in asked.sources for name in asked.of(one)} - asked.of(source).keys()):
        print(f"{language}: it has no {source}, and keeps its tokens.")
    if why:
        print(f"{why}\n")
    return source


def _corpus(source: str, asked: _Asked, primary: str, original: dict, arguments: Arguments, constraints):
    """The corpus that one source asks for, in the unit of `original`."""
    from babel_jax.optimum import best_corpus, peak_tokens

    if source not in asked.by_share:
        return peak_tokens.corpus(asked.peaks, primary, original, constraints)
    return best_corpus.corpus(asked.by_share[source], primary, original, arguments.reading, constraints)


# --- a study --------------------------------------------------------------------------------------------------------------


def _of_study(arguments: Arguments):
    """Prints what a study proposes; the mixture file where one is wanted."""
    from babel_jax.optimum import share_sources
    from babel_jax.study import analysis

    of_study = analysis.of_study(arguments.workdir)
    if arguments.source == SCHEDULE:
        return _of_schedule(arguments, of_study)
    proposals = {language: here.proposals for language, here in of_study.languages.items()}
    if not any(proposals.values()) and not of_study.peaks:
        raise UserError(f"the study in {arguments.workdir} has no proposal: {' '.join(of_study.missing)}")
    study, available, tokens = of_study.study, {}, None
    if arguments.out or arguments.max_epochs:
        available, tokens = _mix_of(arguments.workdir, study)
    budget = arguments.budget or tokens
    trained = of_study.mix_named(of_study.original_name)
    of_run = budget or (trained and trained.tokens)  # the tokens at a peak are a part of that many
    asked = _asked(proposals, of_study.peaks if of_run else {}, arguments.reading)
    if not asked.sources:
        raise UserError("the study trained no mix, so nothing says for how many tokens the peaks are; give --budget.")
    source = _source(arguments, asked, SCHEDULE)
    constraints = _constraints(arguments, available, budget if source in asked.by_share else of_run)
    whole = sum(study.original.values())  # in any unit, such as billions; the corpus is in tokens of the run
    original = {language: amount / whole * (constraints.budget or whole) for language, amount in study.original.items()}
    corpus = _corpus(source, asked, study.primary, original, arguments, constraints)
    print(f"{corpus_table(corpus, original)}\n\n{LEGEND}")
    calibrated = share_sources.CALIBRATED
    if source in asked.by_share and source != calibrated and calibrated in asked.by_share:
        print("The calibrated share predicts the measured one better at checkpoints left out: --source=calibrated.")
    if of_study.schedules and of_study.schedules.proposal:
        print("The continual runs with replay propose an order of training, too: --source=schedule.")
    return arguments.out and mixture(source, asked.of(source), corpus, available)


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
    """Prints what a table of scores, and losses, proposes; the mixture file where one is wanted."""
    from babel_jax.optimum import algorithm1, best_corpus, peak_tokens
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
    peaks = {name: peak_tokens.of_observation(seen, name in assumed) for name, seen in observed.items()}
    asked = _asked(proposals, peaks, arguments.reading)
    source = _source(arguments, asked)
    constraints = _constraints(arguments, sizes, arguments.budget)
    corpus = _corpus(source, asked, merged, sizes, arguments, constraints)
    corpus = best_corpus.split_primaries(corpus, merged, of_primaries)
    print(f"{corpus_table(corpus, original)}\n\n{LEGEND}")
    _suggest_assuming(source, asked, observed)
    _doubt_units(source, asked, original)
    for language, proposal in asked.of(source).items():
        _print_residuals(observed[language], proposal.best_step, primaries)
    return arguments.out and mixture(source, asked.of(source), corpus, original)


def _suggest_assuming(source: str, asked: _Asked, observed: dict) -> None:
    """Names the languages that keep their tokens for no other reason than that something could not be tested."""
    from babel_jax.evolution import dependence
    from babel_jax.optimum.algorithm1 import UNDECIDED

    def untested(language: str, proposal) -> bool:
        if source not in asked.by_share:
            return not observed[language].has_intervals
        return observed[language].shares.keys().isdisjoint(dependence.SHARES) and not math.isnan(proposal.tokens_ci[0])

    names = [
        language
        for language, proposal in asked.of(source).items()
        if proposal.decision == UNDECIDED and untested(language, proposal)
    ]
    if names:
        what = "depend on the primary" if source in asked.by_share else "fall after their peak"
        print(
            f"{', '.join(names)}: nothing here can tell whether they {what}. If you know that they do: "
            f"--assume={','.join(names)}."
        )


def _doubt_units(source: str, asked: _Asked, original: dict[str, float]) -> None:
    """Tokens at a peak are absolute: says where those of the table and of --original can hardly be in one unit."""
    from babel_jax.optimum.algorithm1 import CHANGE

    for language, peak in ({} if source in asked.by_share else asked.peaks).items():
        if peak.decision == CHANGE and not FEWEST <= peak.tokens / original[language] <= 1 / FEWEST:
            print(
                f"{language}: its peak is at {peak.tokens:.3g} tokens of the table, and --original has {original[language]:.3g}; "
                "give both in one unit."
            )


def _print_residuals(observation, best_step: int, primaries) -> None:
    """Says where a language leans on the primaries in other proportions than those of the corpus."""
    for name, residual_CxP in observation.residuals.items():
        residual_P = residual_CxP[observation.steps.tolist().index(best_step)]
        if abs(residual_P).max() > WORTH_SAYING:
            far = ", ".join(f"{of} {100 * value:+.0f}" for of, value in zip(primaries, residual_P, strict=True))
            print(f"{observation.language}: its {name} at the peak is off the primaries' proportions by {far} points.")


# --- what is shown and written --------------------------------------------------------------------------------------------


def table(proposals: dict) -> str:
    """What a source asks for of each language, in lines for the terminal: Algorithm 1's proposals, or the tokens at peaks."""
    from babel_jax.optimum.algorithm1 import supported

    lines = [f"{'language':10s} {'P*':>6s}  {'95 % interval':16s} {'step':>6s} {'tokens':>7s}  95 % interval"]
    for language, proposal in proposals.items():
        p_star = getattr(proposal, "p_star", math.nan)  # a peak has none
        if math.isnan(proposal.tokens):
            lines.append(f"{language:10s} {'-':>6s}  {'not determined':16s} {proposal.best_step:6d} {'-':>7s}")
            continue
        share, interval = "-", ""
        if not math.isnan(p_star):
            low, high = proposal.p_star_ci
            share, interval = f"{p_star:6.4f}", "none" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        tokens, ci = supported(proposal.tokens, proposal.tokens_ci)
        lines.append(f"{language:10s} {share:>6s}  {interval:16s} {proposal.best_step:6d} {tokens:>7s}  {ci}")
    return "\n".join(lines)


def corpus_table(corpus, original: dict[str, float]) -> str:
    """The corpus that is made of the proposals, and why, in lines for the terminal; tokens in the unit of `original`."""
    from babel_jax.optimum.algorithm1 import readable, supported

    lines = [f"{'language':10s} {'original':>8s} {'asked':>8s} {'corpus':>8s} {'share':>7s}  decision"]
    for language, tokens in corpus.tokens.items():
        asked, ci = corpus.unconstrained[language], corpus.ci.get(language)
        text = supported(asked, ci)[0] if ci and asked != original[language] else readable(asked)
        feasible = text if math.isclose(tokens, asked) else readable(tokens)
        decision = corpus.decisions.get(language, "as it is")
        amounts = " ".join(f"{size:>8s}" for size in (readable(original[language]), text, feasible))
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
