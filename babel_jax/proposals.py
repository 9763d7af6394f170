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

Several primaries, on all of which the first model was trained, count together (`algorithm1.together`): the loss gives the
share of them all; a measured share has a column for each, such as `working_language_python` and `working_language_cpp`, or
one column for all.
"""

import csv
import difflib
import io
import math
import re

import numpy as np
import pandas as pd

from babel_jax import arguments as kinds
from babel_jax import files, mixtures
from babel_jax.errors import LONGEST_NAME, Parser, UserError, one_line, printable, quoted, shortened, unknown_name
from babel_jax.evolution import dependence, stages
from babel_jax.optimum import algorithm1, sources

COLUMNS = ("language", "seed", "step", "tokens", "loss", "score", "n")
OPTIONAL = ("loss_error", *dependence.SHARES)
CSV_SOURCES = ("loss", *dependence.SHARES)
WORTH_SAYING = 0.01  # how far a share of several primaries is off their proportions
FEWEST_CHECKPOINTS = 3  # of a run: a peak lies between two others
SCHEDULE = "schedule"
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")  # what tables write where a number that may be missing is
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# What a column may hold, least and most: beyond it sums and powers stop being numbers, and no such run exists.
RANGES = {"n": (2, 10**6), "seed": (0, kinds.LARGEST_SEED), "step": (0, kinds.LARGEST_STEP), "tokens": (0, 10**18)}
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
    limits = parser.add_argument_group("constraints")
    limits.add_argument(
        "--budget",
        type=kinds.number(0, kinds.MOST_TOKENS, above=True),
        help="tokens in all (default: of a study's mixes; or what comes out)",
    )
    limits.add_argument(
        "--max_epochs",
        type=kinds.number(0, 1e9),
        default=0.0,
        help="how often a language's tokens may be seen (0: no limit)",
    )
    limits.add_argument("--min_share", type=kinds.number(0, 1), default=0.0, help="of all tokens, for every language")
    parser.add_argument(
        "--out", type=kinds.place, metavar="FILE", help="where a mixture file is written that `train` reads"
    )
    parsed = parser.parse_args(arguments)
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
        mixtures.write(parsed.out, mixture)
        out = printable(parsed.out)
        print(f"\nmixture: {out}; train it with --run=mix --mixture={out}")


# --- a study --------------------------------------------------------------------------------------------------------------


def _of_study(parsed) -> dict | None:
    """Prints what a study proposes; the mixture file's content where one is wanted."""
    from babel_jax import findings  # not for a table of losses: it reads Parquet

    found = findings.of_study(parsed.workdir)
    study = found["study"]
    if parsed.source == SCHEDULE:
        return _of_schedule(parsed, found)
    proposals = {language: about["proposals"] for language, about in found["languages"].items()}
    if not any(proposals.values()):
        raise UserError(f"the study in {parsed.workdir} has no proposal: {' '.join(found['missing'])}")
    chosen = _chosen(proposals, parsed.source, SCHEDULE)
    available, tokens = _run_of(parsed.workdir, study) if parsed.out or parsed.max_epochs else ({}, None)
    limits = _limits(parsed, available, tokens if parsed.budget is None else parsed.budget)
    whole = sum(study["original"].values())  # in any unit, such as billions; the corpus is in tokens of the run
    original = {language: amount / whole * (limits.budget or whole) for language, amount in study["original"].items()}
    corpus = algorithm1.corpus(chosen, study["primary"], original, parsed.reading, limits)
    print(f"{parsed.source}\n{table(chosen)}\n\n{corpus_table(corpus, original)}")
    if parsed.source != sources.CALIBRATED and any(sources.CALIBRATED in of for of in proposals.values()):
        print("The calibrated share foretells the measured one better at checkpoints left out: --source=calibrated.")
    if found["schedules"] and found["schedules"]["proposal"]:
        print("The continual runs with replay propose an order of training, too: --source=schedule.")
    return parsed.out and mixture(parsed.source, chosen, corpus, available)


def _chosen(proposals: dict[str, dict], source: str, *others: str) -> dict[str, dict]:
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


def _of_schedule(parsed, found: dict) -> dict | None:
    proposed = found["schedules"] and found["schedules"]["proposal"]
    if not proposed:
        raise UserError(f"the study in {parsed.workdir} has no schedule; it needs continual runs with `replay`.")
    if parsed.budget is not None or parsed.max_epochs or parsed.min_share or parsed.reading == "joint":
        raise UserError(
            "a schedule is as long as the study's mixes, and measured, not read off Eq. 3; leave --budget, --max_epochs, "
            "--min_share and --reading out."
        )
    for number, stage in enumerate(proposed["stages"]):
        size = f"{stage['tokens']:,} tokens" if stage["tokens"] else "the rest"
        print(f"stage {number}, {size}: " + ", ".join(f"{name} {w:.4g}" for name, w in stage["weights"].items()))
    print(proposed["reason"])
    if not parsed.out:
        return None
    available, tokens = _run_of(parsed.workdir, found["study"])
    proposed = _plain(proposed)
    made = {"by": "optimize", "source": SCHEDULE, "proposal": proposed}
    return mixtures.compose(made, proposed["stages"], available, tokens)


def _run_of(workdir, study: dict) -> tuple[dict[str, int], int]:
    """(tokens that there are of each source, tokens of a run) of a study's from-scratch mixes."""
    runs = [run for run in study["runs"] if run["run"].startswith("mix_")]
    if not runs:
        raise UserError(
            f"the study in {workdir} trained no mix, so nothing says for how many tokens; add the role 'mix'."
        )
    _, done, row_tokens = mixtures.finished(files.path(workdir) / f"seed{runs[0]['seed']}" / runs[0]["run"])
    return {source: counts.rows * row_tokens for source, counts in done.sources.items()}, done.tokens


def _limits(parsed, available: dict[str, float], budget: float | None) -> algorithm1.Constraints:
    if not parsed.max_epochs:
        return algorithm1.Constraints(budget=budget, min_share=parsed.min_share)
    return algorithm1.Constraints(budget, available, parsed.max_epochs, parsed.min_share)


# --- a table of losses and scores -----------------------------------------------------------------------------------------


def _of_csv(parsed) -> dict | None:
    """Prints what a table of losses and scores proposes; the mixture file's content where one is wanted."""
    original, primaries, assumed = parsed.original, parsed.primary, parsed.assume
    if len(primaries) > 1 and parsed.min_share:
        raise UserError("--min_share goes with one primary: several keep their proportions; leave it out.")
    for name in primaries:
        if name not in original:
            raise UserError(f"--original has no {name}; give the primary's tokens too: {name}=11e9,….")
    of_primaries = {name: original[name] for name in primaries}
    observations = read_csv(parsed.csv, of_primaries)
    for name in assumed:
        if name not in observations:
            raise unknown_name("language of the table", name, observations)
    merged = "+".join(primaries)  # in Eq. 3 they stand as one
    together = {merged: sum(of_primaries.values())}
    together |= {name: tokens for name, tokens in original.items() if name not in primaries}
    proposals = {}
    for language, observation in observations.items():
        if language not in original:
            raise UserError(f"--original has no {language}; give its tokens: {language}=….")
        tokens = together[merged], original[language]
        proposals[language] = of_observation(observation, *tokens, language in assumed)
    chosen = _chosen(proposals, parsed.source)
    corpus = algorithm1.corpus(chosen, merged, together, parsed.reading, _limits(parsed, together, parsed.budget))
    corpus = algorithm1.apart(corpus, merged, of_primaries)
    print(f"{parsed.source}\n{table(chosen)}\n\n{corpus_table(corpus, original)}")
    for language, observation in observations.items():
        for name, residual_CxP in observation["residuals"].items():
            residual_P = residual_CxP[
                observation["steps"].tolist().index(proposals[language][parsed.source]["best_step"])
            ]
            if np.abs(residual_P).max() > WORTH_SAYING:
                far = ", ".join(f"{of} {100 * value:+.0f}" for of, value in zip(primaries, residual_P, strict=True))
                print(f"{language}: its {name} at the peak is off the primaries' proportions by {far} points.")
    return parsed.out and mixture(parsed.source, chosen, corpus, original)


def amounts(text: str) -> dict[str, float]:
    """{language: tokens} of an argument such as python=11e9,php=23e9."""
    found = {}
    for part in text.split(","):
        name, _, number = (piece.strip() for piece in part.partition("="))
        tokens = float(number) if NUMBER.fullmatch(number) else 0.0
        if not name or not kinds.FEWEST_TOKENS <= tokens <= kinds.MOST_TOKENS:
            raise UserError(
                f"--original has '{part}'; write NAME=TOKENS, tokens above 0 and up to {kinds.MOST_TOKENS:g}: python=11e9."
            )
        if name in found:
            raise UserError(f"--original has {name} twice; give each language once.")
        found[name] = tokens
    return found


def of_observation(
    observation: dict, primary_tokens: float, original_tokens: float, assumed: bool = False
) -> dict[str, dict]:
    """{source: Algorithm 1's proposal} for one language of a table.

    `assumed`: that it depends on the primary is taken for granted.
    """
    verdict = stages.verdict(observation["steps"], observation["solved"])
    at_peak = int(np.searchsorted(observation["steps"], verdict["peak"]["step"]))
    shares = {name: value_SxC[:, at_peak].tolist() for name, value_SxC in observation["shares"].items()}
    tested = None
    if assumed:
        tested = {"depends": True, "reason": "It is assumed to depend on the primary."}
    elif shares:
        solved = [solved_CxQ[at_peak].sum() for solved_CxQ in observation["solved"]]
        tested = dependence.dependence(verdict, shares, {"knowledge_share": solved})
    return sources.proposals(observation, verdict, tested, primary_tokens, original_tokens, CSV_SOURCES)["proposals"]


def read_csv(file, primaries: dict[str, float]) -> dict[str, dict]:
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


def observations(frame: pd.DataFrame, primaries: dict[str, float], name="the table") -> dict[str, dict]:
    """{new language: observation} of a table with the module's columns; rows of the primary languages are left out.

    `frame`: numbers, or text as it stands in a file's cells; its index is what errors call the lines.

    An observation has language, steps [C], tokens [C], seeds, solved (`answers`), score_SxC, problems, losses and
    loss_errors {"loss": [S, C]}, shares {source: [S, C]}, residuals {source: [C, P], mean over seeds} (of several
    primaries: `algorithm1.together`). `primaries` gives the tokens of each; `name` is what errors call the table.
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
    by_primary = {source: [f"{source}_{one}" for one in primaries] for source in dependence.SHARES}
    split = {source: columns for source, columns in by_primary.items() if frame.columns.isin(columns).any()}
    for source, columns in split.items():
        if source in frame:
            raise UserError(f"{name} has {source} and {columns[0]}; give it for each primary, or for all together.")
        if missing := [column for column in columns if column not in frame]:
            raise UserError(f"{name} lacks the column {', '.join(missing)}; {source} needs one for each primary.")
    parts = [column for columns in split.values() for column in columns]
    for column in [*COLUMNS[1:], *(column for column in (*OPTIONAL, *parts) if column in frame)]:
        frame[column] = _numbers(frame, column, name)
    residuals = {}
    for source, columns in split.items():
        if (over := frame[columns].sum(axis=1) > 1 + 1e-6).any():
            raise UserError(
                f"{name}, line {over.idxmax()}: {' + '.join(columns)} is above 1; they are shares of one whole."
            )
        frame[source], residual_NxP = algorithm1.together(frame[columns].to_numpy(), list(primaries.values()))
        residuals[source] = pd.DataFrame(residual_NxP, frame.index)
    return {
        str(language): _observation(str(language), rows, name)
        | {
            "residuals": {
                name: off.loc[rows.index].groupby(rows["step"]).mean().to_numpy() for name, off in residuals.items()
            }
        }
        for language, rows in frame.groupby("language")
    }


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


def _observation(language: str, rows: pd.DataFrame, name) -> dict:
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
    return {
        "language": language,
        "steps": steps,
        "tokens": tokens_C,
        "seeds": seeds,
        "solved": [answers(*of_seed) for of_seed in zip(score_SxC, problems_S, seeds, strict=True)],
        "score_SxC": score_SxC,
        "problems": int(problems_S.max()),
        "losses": {"loss": wide["loss"].to_numpy()},
        "loss_errors": {"loss": wide["loss_error"].to_numpy() if "loss_error" in wide else unknown},
        "shares": {source: wide[source].to_numpy() for source in dependence.SHARES if source in wide},
    }


def answers(score_C, problems: int, seed: int) -> np.ndarray:
    """[C, Q] of 0/1 with these scores, where it is not known which of the Q problems were solved.

    Drawn independently for each checkpoint. A real model's answers at two checkpoints agree more than that, which
    cancels in their difference, so intervals of a rise or a decline come out too wide rather than too narrow.
    """
    solved_C = np.rint(np.asarray(score_C) * problems)
    order_CxQ = np.random.default_rng(seed).random((len(solved_C), problems)).argsort(1)
    return (order_CxQ < solved_C[:, None]).astype(float)


# --- what is shown and written --------------------------------------------------------------------------------------------


def table(proposals: dict[str, dict]) -> str:
    """Algorithm 1's proposals in lines for the terminal."""
    lines = [f"{'language':10s} {'P*':>6s}  {'95 % interval':16s} {'step':>6s} {'tokens':>7s}  95 % interval"]
    for language, found in proposals.items():
        low, high = found["p_star_ci"]
        interval = "none" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        least, most = (algorithm1.readable(tokens) for tokens in found["tokens_ci"])
        if math.isnan(found["p_star"]):
            lines.append(f"{language:10s} {'-':>6s}  {'not determined':16s} {found['best_step']:6d} {'-':>7s}")
            continue
        lines.append(
            f"{language:10s} {found['p_star']:6.4f}  {interval:16s} {found['best_step']:6d} "
            f"{algorithm1.readable(found['tokens']):>7s}  {least} to {most}"
        )
    return "\n".join(lines)


def corpus_table(corpus: dict, original: dict[str, float]) -> str:
    """The corpus that is made of the proposals, and why, in lines for the terminal; tokens in the unit of `original`."""
    lines = [f"{'language':10s} {'original':>8s} {'asked':>8s} {'corpus':>8s} {'share':>7s}  decision"]
    for language, tokens in corpus["tokens"].items():
        sizes = (original[language], corpus["unconstrained"][language], tokens)
        decision = corpus["decisions"].get(language, "as it is")
        lines.append(
            f"{language:10s} "
            + " ".join(f"{algorithm1.readable(size):>8s}" for size in sizes)
            + f" {corpus['shares'][language]:7.2%}  {decision}"
        )
    total, held = algorithm1.readable(corpus["total"]), ", ".join(corpus["active"]) or "no constraint"
    lines.append(f"corpus of {total} tokens, {corpus['reading']} reading; binding: {held}")
    return "\n".join(lines + list(corpus["reasons"].values()))


def mixture(source: str, proposals: dict[str, dict], corpus: dict, available: dict[str, float]) -> dict:
    """The content of the mixture file of a corpus: one stage, weights in whole ten-thousandths, so that blocks are short."""
    weights = {language: round(share, 4) for language, share in corpus["shares"].items()}
    stages_ = [{"tokens": 0, "weights": {language: weight for language, weight in weights.items() if weight}}]
    made = {"by": "optimize", "source": source, "corpus": _plain(corpus), "proposals": _plain(proposals)}
    return mixtures.compose(made, stages_, available, round(corpus["total"]))


def _plain(value):
    """A value as JSON can hold it: no replicates, and null where a number is infinite or not there."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key != "replicates_R"}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
