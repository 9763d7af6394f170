"""The verb `optimize`: from a study, or from a table of losses and scores made elsewhere, to a corpus and its mixture file.

The table needs no framework of ours. It is CSV in UTF-8: a header, commas, points in numbers; one row for each checkpoint of
each continual run, with the columns

  language      the new language, on which the primary language's model was trained further
  seed          which run of it, an integer
  step          the checkpoint's optimiser step
  tokens        tokens of the new language seen by then; the first checkpoint, at 0, is the primary language's model
  loss          held-out loss on the new language, nats per token, on the same texts at every checkpoint
  score         share of the problems that are solved, 0 to 1
  n             problems behind the score, the same number at all checkpoints of a run

and, where they were measured, `loss_error` (standard error of the loss; without it a single run has no interval) and the
primary's share in what the model does, 0 to 1: `knowledge_share`, `working_language`. Without one of these two, whether
a language depends on the primary cannot be tested, and it keeps its tokens unless --assume names it.

Several primaries, on all of which the first model was trained, count together (`algorithm1.merge_primaries`): the loss gives the
share of them all; a measured share has a column for each, such as `working_language_python` and `working_language_cpp`, or
one column for all.
"""

import csv
import dataclasses
import difflib
import io
import math
import re

import numpy as np
import pandas as pd

from babel_jax.cli import arguments as kinds
from babel_jax.common import files, limits
from babel_jax.common.errors import (
    LONGEST_NAME,
    Parser,
    UserError,
    one_line,
    printable,
    quoted,
    shortened,
    unknown_name,
)
from babel_jax.corpus import mixture_files
from babel_jax.evolution import dependence, stages
from babel_jax.evolution.dependence import Dependence
from babel_jax.evolution.observation import Observation
from babel_jax.optimum import algorithm1, share_sources
from babel_jax.optimum.algorithm1 import Amounts, Corpus, Proposal

COLUMNS = ("language", "seed", "step", "tokens", "loss", "score", "n")
OPTIONAL = ("loss_error", *dependence.SHARES)
CSV_SOURCES = ("loss", *dependence.SHARES)
WORTH_SAYING = 0.01  # how far a share of several primaries is off their proportions
FEWEST_CHECKPOINTS = 3  # of a run: a peak lies between two others
SCHEDULE = "schedule"
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")  # what tables write where a number that may be missing is
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What a column may hold, least and most: beyond it sums and powers stop being numbers, and no such run exists.
RANGES = {
    "n": (2, 10**6),
    "seed": (0, limits.LARGEST_SEED),
    "step": (0, limits.LARGEST_STEP),
    "tokens": (0, limits.MOST_TOKENS),
}
WHOLE = tuple(RANGES)
SHARE, OTHER = (0, 1), (0, 1e6)  # of scores and shares; of losses in nats


def options(arguments: list[str]):
    """The arguments of `optimize`, read."""
    parser = Parser(
        prog="python -m babel_jax optimize",
        description="how much of each language a corpus should hold, by Algorithm 1, with intervals",
        epilog="FILE needs the columns language (the new one), seed, step, tokens (of the new language seen; 0 is the "
        "primary's model), loss (held-out, nats per token), score (0 to 1) and n (problems behind it); it may have "
        "loss_error, knowledge_share and working_language (with several primaries one for each: "
        "working_language_python, …). Only numpy, scipy and pandas read it.",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--workdir", "--study", type=kinds.place, help="a study's directory")
    what.add_argument("--csv", type=kinds.place, metavar="FILE", help="losses and scores of continual runs")
    table = parser.add_argument_group("with --csv")
    table.add_argument(
        "--primary", type=kinds.names, metavar="NAME,…", help="the languages that the models were trained on first"
    )
    table.add_argument(
        "--original", type=amounts, metavar="NAME=TOKENS,…", help="the corpus to change: python=11e9,php=23e9"
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
    parser.add_argument("--reading", default="pairwise", choices=algorithm1.READINGS, help="of Eq. 2 and 3")
    constraints = parser.add_argument_group("constraints")
    constraints.add_argument(
        "--budget",
        type=kinds.number(0, limits.MOST_TOKENS, above=True),
        help="tokens in all (default: of a study's mixes; or what comes out)",
    )
    mixture_files.add_max_epochs(constraints)
    constraints.add_argument(
        "--min_share", type=kinds.number(0, 1), default=0.0, help="of all tokens, for every language"
    )
    parser.add_argument(
        "--out", type=kinds.place, metavar="FILE", help="where a mixture file is written that `train` reads"
    )
    return _checked(parser.parse_args(arguments))


def _checked(parsed):
    """Refuses options that do not go together."""
    if parsed.csv and not (parsed.primary and parsed.original):
        raise UserError("--csv needs --primary and --original: --primary=python --original=python=11e9,php=23e9.")
    if parsed.csv and parsed.source == SCHEDULE:
        raise UserError("a schedule needs a study, with runs of several replay shares: --workdir.")
    if not parsed.csv and (parsed.primary or parsed.original or parsed.assume):
        raise UserError("--primary, --original and --assume go with --csv; a study says them itself.")
    return parsed


def main(arguments: list[str]) -> None:
    """`optimize …`: prints the proposals and the corpus, and writes the mixture file to --out."""
    parsed = options(arguments)
    mixture = (_of_csv if parsed.csv else _of_study)(parsed)
    if parsed.out:
        mixture_files.write(parsed.out, mixture)
        out = printable(parsed.out)
        print(f"\nmixture: {out}; train it with --run=mix --mixture={out}")


# --- a study --------------------------------------------------------------------------------------------------------------


def _of_study(parsed) -> mixture_files.MixtureFile | None:
    """Prints what a study proposes; the mixture file's content where one is wanted."""
    from babel_jax.study import analysis  # not for a table of losses: it reads Parquet

    found = analysis.of_study(parsed.workdir)
    if parsed.source == SCHEDULE:
        return _of_schedule(parsed, found)
    proposals = {language: here.proposals for language, here in found.languages.items()}
    if not any(proposals.values()):
        raise UserError(f"the study in {parsed.workdir} has no proposal: {' '.join(found.missing)}")
    chosen = _chosen(proposals, parsed.source, SCHEDULE)
    study, available, tokens = found.study, {}, None
    if parsed.out or parsed.max_epochs:
        available, tokens = _run_of(parsed.workdir, study)
    constraints = _limits(parsed, available, tokens if parsed.budget is None else parsed.budget)
    whole = sum(study.original.values())  # in any unit, such as billions; the corpus is in tokens of the run
    original = {language: amount / whole * (constraints.budget or whole) for language, amount in study.original.items()}
    corpus = algorithm1.corpus(chosen, study.primary, original, parsed.reading, constraints)
    print(f"{parsed.source}\n{table(chosen)}\n\n{corpus_table(corpus, original)}")
    if parsed.source != share_sources.CALIBRATED and any(share_sources.CALIBRATED in of for of in proposals.values()):
        print("The calibrated share predicts the measured one better at checkpoints left out: --source=calibrated.")
    if found.schedules and found.schedules.proposal:
        print("The continual runs with replay propose an order of training, too: --source=schedule.")
    return parsed.out and mixture(parsed.source, chosen, corpus, available)


def _chosen(proposals: dict[str, dict[str, Proposal]], source: str, *others: str) -> dict[str, Proposal]:
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


def _of_schedule(parsed, found) -> mixture_files.MixtureFile | None:
    proposed = found.schedules and found.schedules.proposal
    if not proposed:
        raise UserError(f"the study in {parsed.workdir} has no schedule; it needs continual runs with `replay`.")
    if parsed.budget is not None or parsed.max_epochs or parsed.min_share or parsed.reading == "joint":
        raise UserError(
            "a schedule is as long as the study's mixes, and measured, not read off Eq. 3; leave --budget, --max_epochs, "
            "--min_share and --reading out."
        )
    for number, stage in enumerate(proposed.stages):
        size = f"{stage['tokens']:,} tokens" if stage["tokens"] else "the rest"
        print(f"stage {number}, {size}: " + ", ".join(f"{name} {w:.4g}" for name, w in stage["weights"].items()))
    print(proposed.reason)
    if not parsed.out:
        return None
    available, tokens = _run_of(parsed.workdir, found.study)
    made = {"by": "optimize", "source": SCHEDULE, "proposal": _plain(proposed)}
    return mixture_files.compose(made, proposed.stages, available, tokens)


def _run_of(workdir, study) -> tuple[dict[str, int], int]:
    """(tokens that there are of each source, tokens of a run) of a study's from-scratch mixes."""
    run = next((run for run in study.runs if run.name.role == "mix" and run.name.mix), None)
    if run is None:
        raise UserError(
            f"the study in {workdir} trained no mix, so nothing says for how many tokens; add the role 'mix'."
        )
    _, done, row_tokens = mixture_files.finished(files.path(workdir) / f"seed{run.seed}" / str(run.name))
    return {source: counts.rows * row_tokens for source, counts in done.sources.items()}, done.tokens


def _limits(parsed, available: dict[str, float], budget: float | None) -> algorithm1.Constraints:
    if not parsed.max_epochs:
        return algorithm1.Constraints(budget=budget, min_share=parsed.min_share)
    return algorithm1.Constraints(budget, available, parsed.max_epochs, parsed.min_share)


# --- a table of losses and scores -----------------------------------------------------------------------------------------


def _of_csv(parsed) -> mixture_files.MixtureFile | None:
    """Prints what a table of losses and scores proposes; the mixture file's content where one is wanted."""
    original, primaries, assumed = parsed.original, parsed.primary, parsed.assume
    if len(primaries) > 1 and parsed.min_share:
        raise UserError("--min_share goes with one primary: several keep their proportions; leave it out.")
    for name in primaries:
        if name not in original:
            raise UserError(f"--original has no {name}; give the primary's tokens too: {name}=11e9,….")
    of_primaries = {name: original[name] for name in primaries}
    observed = read_csv(parsed.csv, of_primaries)
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
        proposals[language] = of_observation(
            observation, Amounts(sizes[merged], original[language]), language in assumed
        )
    chosen = _chosen(proposals, parsed.source)
    corpus = algorithm1.corpus(chosen, merged, sizes, parsed.reading, _limits(parsed, sizes, parsed.budget))
    corpus = algorithm1.split_primaries(corpus, merged, of_primaries)
    print(f"{parsed.source}\n{table(chosen)}\n\n{corpus_table(corpus, original)}")
    for language, proposal in chosen.items():
        _say_residuals(observed[language], proposal.best_step, primaries)
    return parsed.out and mixture(parsed.source, chosen, corpus, original)


def _say_residuals(observation: Observation, best_step: int, primaries) -> None:
    """Says where a language leans on the primaries in other proportions than those of the corpus."""
    for name, residual_CxP in observation.residuals.items():
        residual_P = residual_CxP[observation.steps.tolist().index(best_step)]
        if np.abs(residual_P).max() > WORTH_SAYING:
            far = ", ".join(f"{of} {100 * value:+.0f}" for of, value in zip(primaries, residual_P, strict=True))
            print(f"{observation.language}: its {name} at the peak is off the primaries' proportions by {far} points.")


def amounts(text: str) -> dict[str, float]:
    """{language: tokens} of an argument such as python=11e9,php=23e9."""
    found = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        tokens = float(number) if NUMBER.fullmatch(number) else 0.0
        if not name or not limits.FEWEST_TOKENS <= tokens <= limits.MOST_TOKENS:
            raise UserError(
                f"--original has '{part}'; write NAME=TOKENS, tokens above 0 and up to {limits.MOST_TOKENS:g}: python=11e9."
            )
        if name in found:
            raise UserError(f"--original has {name} twice; give each language once.")
        found[name] = tokens
    return found


def of_observation(observation: Observation, amounts: Amounts, assumed: bool = False) -> dict[str, Proposal]:
    """{source: Algorithm 1's proposal} for one language of a table.

    `assumed`: that it depends on the primary is taken for granted.
    """
    found = stages.find(observation.steps, observation.solved)
    shares = {name: value_SxC[:, found.peak.index].tolist() for name, value_SxC in observation.shares.items()}
    tested = None
    if assumed:
        tested = Dependence(False, True, "It is assumed to depend on the primary.", math.nan, None)
    elif shares:
        solved = [solved_CxQ[found.peak.index].sum() for solved_CxQ in observation.solved]
        tested = dependence.dependence(found, shares, {"knowledge_share": solved})
    curves = share_sources.shares_of(observation, CSV_SOURCES)
    return share_sources.proposals(observation, curves, found, tested, amounts).proposals


def read_csv(file, primaries: dict[str, float]) -> dict[str, Observation]:
    """`observations` of a CSV file as the module describes it.

    Raises:
      UserError: the file cannot be read, or its content cannot be optimised on; the message says which row, or why.
    """
    return observations(_table(file), primaries, file)


def _table(file) -> pd.DataFrame:
    """The cells of a CSV file as text, by the names of their columns and the numbers of their lines."""
    hint = "give --csv a table with a header, commas between its columns and points in its numbers."
    text = io.StringIO(files.read_text(file, hint), newline="")  # the reader knows every mark of lines
    rows, before = csv.reader(text, skipinitialspace=True, strict=True), 0
    lines = []
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):  # a line number is that of an editor: where the row begins
                lines.append((before + 1, [cell.strip() for cell in cells]))
            before = rows.line_num
    except csv.Error as error:
        raise UserError(f"{file}, line {before + 1}: not CSV ({one_line(error)}); {hint}") from error
    if not lines:
        raise UserError(f"cannot read {file} as CSV (it is empty); {hint}")
    names = _header(file, *lines[0])
    for number, cells in lines[1:]:
        if len(cells) < len(names) or any(cells[len(names) :]):  # empty cells beyond the header say nothing
            raise UserError(
                f"{file}, line {number}: {len(cells)} cells, and the header names {len(names)} columns; a comma within a "
                "number or a name is one too many, and no cell may be left out."
            )
    wanted = [place for place, name in enumerate(names) if name]
    cells = [[cells[place] for place in wanted] for _, cells in lines[1:]]
    return pd.DataFrame(
        cells, columns=[names[place] for place in wanted], index=[number for number, _ in lines[1:]], dtype=object
    )


def _header(file, number: int, names: list[str]) -> list[str]:
    while names and not names[-1]:
        names = names[:-1]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise UserError(f"{file}, line {number}: the column {quoted(twice)} is there twice; leave one out.")
    other = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    if other:
        raise UserError(
            f"{file} has {other!r} between its columns; save it with commas, and with points in its numbers."
        )
    for name in names:
        if name not in (*COLUMNS, *OPTIONAL):
            absent = [known for known in OPTIONAL if known not in names]
            near = difflib.get_close_matches(name.lower(), absent, 1, 0.9)
            if near:
                raise UserError(f"{file}, line {number}: {unknown_name('column', name, near)}")
    return names


def observations(frame: pd.DataFrame, primaries: dict[str, float], name="the table") -> dict[str, Observation]:
    """{new language: observation} of a table with the module's columns; rows of the primary languages are left out.

    `frame`: numbers, or text as it stands in a file's cells; its index is what errors call the lines. `primaries` gives the
    tokens of each; `name` is what errors call the table. Which problems were solved is not known: see `answers`.
    """
    if missing := [column for column in COLUMNS if column not in frame]:
        there = {str(column).lower(): str(column) for column in frame}
        near = [there[part] for column in missing for part in difflib.get_close_matches(column, there, 1, 0.7)]
        raise UserError(
            f"{name} lacks the column {', '.join(missing)}; it needs {', '.join(COLUMNS)}, separated by commas"
            + (f" (it has {', '.join(map(quoted, near))})." if near else ".")
        )
    for line, language in frame["language"].items():
        if not isinstance(language, str) or not language:
            raise UserError(f"{name}, line {line}: language is missing; fill it in.")
        if not language.isprintable() or len(language) > LONGEST_NAME:
            raise UserError(f"{name}, line {line}: language is {quoted(language)}; give it a short, printable name.")
    frame = frame[~frame["language"].isin([*primaries]).to_numpy(bool)].copy()
    if frame.empty:
        known = ", ".join(primaries)
        raise UserError(f"{name} has no language but {known}; add the rows of a new one, trained on from its model.")
    split = _columns_by_primary(frame, primaries, name)
    parts = [column for columns in split.values() for column in columns]
    for column in [*COLUMNS[1:], *(column for column in (*OPTIONAL, *parts) if column in frame)]:
        frame[column] = _numbers(frame, column, name)
    residuals = {source: _merge(frame, source, columns, primaries, name) for source, columns in split.items()}
    return {
        str(language): _observation(str(language), rows, name, residuals)
        for language, rows in frame.groupby("language")
    }


def _columns_by_primary(frame: pd.DataFrame, primaries, name) -> dict[str, list[str]]:
    """{source: its columns, one for each primary} of the shares that are given so."""
    by_primary = {source: [f"{source}_{one}" for one in primaries] for source in dependence.SHARES}
    split = {source: columns for source, columns in by_primary.items() if frame.columns.isin(columns).any()}
    for source, columns in split.items():
        if source in frame:
            raise UserError(f"{name} has {source} and {columns[0]}; give it for each primary, or for all together.")
        if missing := [column for column in columns if column not in frame]:
            raise UserError(f"{name} lacks the column {', '.join(missing)}; {source} needs one for each primary.")
    return split


def _merge(frame: pd.DataFrame, source: str, columns: list[str], primaries: dict[str, float], name) -> pd.DataFrame:
    """Adds a column with the primaries' common share; returns what each is off its part of it."""
    if (over := frame[columns].sum(axis=1) > 1 + 1e-6).any():
        raise UserError(
            f"{name}, line {over.idxmax()}: {' + '.join(columns)} is above 1; they are shares of one whole."
        )
    frame[source], residual_NxP = algorithm1.merge_primaries(frame[columns].to_numpy(), list(primaries.values()))
    return pd.DataFrame(residual_NxP, frame.index)


def _numbers(frame: pd.DataFrame, column: str, name) -> pd.Series:
    """A column as numbers in their range; an error names the first line that is wrong."""
    is_share = column.startswith(("score", *dependence.SHARES))
    low, high = RANGES.get(column, SHARE if is_share else OTHER)
    values = []
    for line, cell in frame[column].items():
        text = str(cell)
        if text in MISSING and column not in COLUMNS:
            values.append(math.nan)
            continue
        value = float(text) if NUMBER.fullmatch(text) else math.nan
        if not low <= value <= high or (column in WHOLE and value % 1):
            wants = f"a {'whole ' if column in WHOLE else ''}number, {low} or more"
            if value > high:
                wants = f"at most {high:g}"
            if is_share:
                wants = "from 0 to 1"
            raise UserError(
                f"{name}, line {line}: {column} is {shortened(text, LONGEST_NAME) or 'missing'} and must be {wants}; measure "
                "that checkpoint again, or leave it out for every seed."
            )
        values.append(value)
    return pd.Series(values, frame.index, dtype=int if column in WHOLE else float)


def _observation(language: str, rows: pd.DataFrame, name, residuals: dict[str, pd.DataFrame]) -> Observation:
    if rows.duplicated(["seed", "step"]).any():
        seed, step = rows[rows.duplicated(["seed", "step"])].iloc[0][["seed", "step"]]
        raise UserError(f"{name} has {language}, seed {seed}, step {step} twice; leave one of the rows out.")
    columns = [column for column in (*COLUMNS[3:], *OPTIONAL) if column in rows]
    wide = {column: rows.pivot(index="seed", columns="step", values=column) for column in columns}
    seeds, steps = wide["loss"].index.tolist(), wide["loss"].columns.to_numpy()
    if wide["loss"].isna().any(axis=None):
        seed, step = wide["loss"].isna().stack().idxmax()
        raise UserError(f"{name}: seed {seed} of {language} lacks step {step}; all seeds need the same checkpoints.")
    if len(steps) < FEWEST_CHECKPOINTS:
        raise UserError(
            f"{name} has {len(steps)} checkpoints of {language}; a peak needs {FEWEST_CHECKPOINTS} or more: evaluate others."
        )
    tokens_C = wide["tokens"].mean().to_numpy()
    if tokens_C[0] != 0 or (np.diff(tokens_C) <= 0).any():
        raise UserError(
            f"{name}: tokens of {language} must rise from 0, where the primary's model stands, from step to step."
        )
    problems_S = wide["n"].iloc[:, 0].to_numpy()
    if (wide["n"].to_numpy() != problems_S[:, None]).any():
        raise UserError(
            f"{name}: n of {language} changes within a run; score all its checkpoints on the same problems."
        )
    score_SxC, unknown = wide["score"].to_numpy(), np.full(wide["loss"].shape, np.nan)
    return Observation(
        language=language,
        steps=steps,
        tokens=tokens_C,
        seeds=seeds,
        solved=[answers(*of_seed) for of_seed in zip(score_SxC, problems_S, seeds, strict=True)],
        score_SxC=score_SxC,
        losses={"loss": wide["loss"].to_numpy()},
        loss_errors={"loss": wide["loss_error"].to_numpy() if "loss_error" in wide else unknown},
        shares={source: wide[source].to_numpy() for source in dependence.SHARES if source in wide},
        residuals={
            source: off.loc[rows.index].groupby(rows["step"]).mean().to_numpy() for source, off in residuals.items()
        },
    )


def answers(score_C, problems: int, seed: int) -> np.ndarray:
    """[C, Q] of 0/1 with these scores, where it is not known which of the Q problems were solved.

    Drawn independently for each checkpoint. A real model's answers at two checkpoints agree more than that, which
    cancels in their difference, so intervals of a rise or a decline come out too wide rather than too narrow.
    """
    solved_C = np.rint(np.asarray(score_C) * problems)
    order_CxQ = np.random.default_rng(seed).random((len(solved_C), problems)).argsort(1)
    return (order_CxQ < solved_C[:, None]).astype(float)


# --- what is shown and written --------------------------------------------------------------------------------------------


def table(proposals: dict[str, Proposal]) -> str:
    """Algorithm 1's proposals in lines for the terminal."""
    lines = [f"{'language':10s} {'P*':>6s}  {'95 % interval':16s} {'step':>6s} {'tokens':>7s}  95 % interval"]
    for language, found in proposals.items():
        low, high = found.p_star_ci
        interval = "none" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        least, most = (algorithm1.readable(tokens) for tokens in found.tokens_ci)
        if math.isnan(found.p_star):
            lines.append(f"{language:10s} {'-':>6s}  {'not determined':16s} {found.best_step:6d} {'-':>7s}")
            continue
        lines.append(
            f"{language:10s} {found.p_star:6.4f}  {interval:16s} {found.best_step:6d} "
            f"{algorithm1.readable(found.tokens):>7s}  {least} to {most}"
        )
    return "\n".join(lines)


def corpus_table(corpus: Corpus, original: dict[str, float]) -> str:
    """The corpus that is made of the proposals, and why, in lines for the terminal; tokens in the unit of `original`."""
    lines = [f"{'language':10s} {'original':>8s} {'asked':>8s} {'corpus':>8s} {'share':>7s}  decision"]
    for language, tokens in corpus.tokens.items():
        sizes = (original[language], corpus.unconstrained[language], tokens)
        decision = corpus.decisions.get(language, "as it is")
        lines.append(
            f"{language:10s} "
            + " ".join(f"{algorithm1.readable(size):>8s}" for size in sizes)
            + f" {corpus.shares[language]:7.2%}  {decision}"
        )
    total, held = algorithm1.readable(corpus.total), ", ".join(corpus.active) or "no constraint"
    lines.append(f"corpus of {total} tokens, {corpus.reading} reading; binding: {held}")
    return "\n".join(lines + list(corpus.reasons.values()))


def mixture(
    source: str, proposals: dict[str, Proposal], corpus: Corpus, available: dict[str, float]
) -> mixture_files.MixtureFile:
    """The mixture file of a corpus: one stage, weights in whole ten-thousandths, so that blocks are short."""
    weights = {language: round(share, 4) for language, share in corpus.shares.items()}
    stages_ = [{"tokens": 0, "weights": {language: weight for language, weight in weights.items() if weight}}]
    made = {"by": "optimize", "source": source, "corpus": _plain(corpus), "proposals": _plain(proposals)}
    return mixture_files.compose(made, stages_, available, round(corpus.total))


def _plain(value):
    """A value as JSON can hold it: no replicates, and null where a number is infinite or not there."""
    if dataclasses.is_dataclass(value):
        value = {name: part for name, part in vars(value).items() if name != "replicates_R"}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
