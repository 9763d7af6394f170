"""What an evaluation has left in its places: the scores as a table, two places compared, the share of the primary's knowledge."""

import collections
import dataclasses

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError, printable
from babel_jax.suites import scores, verdict_log
from babel_jax.suites.problems import Suite, asked_in
from babel_jax.suites.verdict_log import Verdict


def summary(place, name: str | None = None, folder: str = "measurements") -> str:
    """The scores of a checkpoint in a place, by default of the last one, as a table: a line a suite and language."""
    place = files.path(place)
    table = _measured(place)[-1] if name is None else place / folder / f"{name}.parquet"
    frame = measurements.read(table)
    frame = frame[frame["probe"] == "evaluation"].copy()
    for column in ("suite", "subset", "outcome", "truncated"):
        frame[column] = measurements.option(frame, column)
    judged_there = (place / "verdicts" / f"{table.stem}.jsonl").exists()
    notes = _notes(frame, verdicts_of(place, table.stem) if judged_there else [])
    lines = [printable(f"{place} {table.stem}")]
    shown = set()
    for row in frame[frame["metric"].str.contains("pass@|bits_per_byte")].itertuples():
        if (row.suite, row.language, row.metric, row.n) in shown:
            continue  # the common subset is all there is
        shown.add((row.suite, row.language, row.metric, row.n))
        note = f"{row.truncated} longer than the context" if row.truncated else ""
        if "pass@" in row.metric:
            note = notes.pop((row.suite, row.language), "")
        lines.append(
            f"  {row.suite:20s} {row.language or 'macro':8s} {row.subset:7s} {row.metric:16s} {row.value:.3f} "
            f"[{row.ci_low:.3f}, {row.ci_high:.3f}] n={row.n}" + (f"  ({note})" if note else "")
        )
    return "\n".join(lines)


def _notes(frame, verdicts: list[Verdict]) -> dict[tuple[str, str], str]:
    """(suite, language) -> how its programs ended, and how many prompts left no room for one."""
    full = collections.Counter((v.suite, v.language) for v in verdicts if v.ended == "no_room")
    notes = {}
    for key, part in frame[frame["metric"] == "outcome"].groupby(["suite", "language"]):
        ended = [f"{share:.0%} {name}" for share, name in zip(part["value"], part["outcome"], strict=True)]
        if full[key]:
            ended.append(f"{full[key]} not written: the prompt fills the context")
        notes[key] = ", ".join(ended)
    return notes


def _measured(place) -> list:
    """The tables of a place's checkpoints (or given completions), the last one last."""
    return sorted((files.path(place) / "measurements").glob("[sg]*.parquet"))


def place_of(folder):
    """The place that a folder is, or the only one that stands in a folder that --out has filled.

    Raises:
      UserError: there is none, or several.
    """
    folder = files.path(folder)
    places = sorted(path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}about.json"))
    if len(places) != 1:
        among = f"; name one of {', '.join(map(str, places))}." if places else "; evaluate into it first."
        raise UserError(f"{folder} holds the results of {len(places)} evaluations{among}")
    return places[0]


def verdicts_of(place, step: str | None = None) -> list[Verdict]:
    """The verdicts in a place: of one checkpoint (the name of its file), by default of the last; in order of their tasks.

    Raises:
      UserError: there are none.
    """
    paths = sorted((files.path(place) / "verdicts").glob(f"{step or '*'}.jsonl"))
    if not paths:
        raise UserError(f"{place} holds no verdicts{f' of {step}' if step else ''}; evaluate into it first.")
    return sorted(verdict_log.read(paths[-1]), key=lambda v: (v.suite, v.language, v.number, v.task_id, v.sample))


def compared(place, other, suites: list[Suite]) -> str:
    """What the last checkpoint in `place` is above the last one in `other`, paired over problems; also `against.json`.

    What `other` holds besides, of other suites or languages, is left out.
    """
    other = place_of(other)
    second = verdicts_of(place)
    names = {(v.suite, v.language) for v in second}
    first = _of(verdicts_of(other), names)
    missing = sorted(" ".join(name) for name in names - {(v.suite, v.language) for v in first})
    if missing:
        raise UserError(f"{other} holds no verdicts on {', '.join(missing)}; evaluate them there first.")
    judged_in = {(v.suite, v.language, v.task_id) for v in second}
    asked = [p for p in asked_in(suites) if p.key in judged_in]
    differences = scores.compare(first, second, asked)
    rows = [
        {name: value for name, value in dataclasses.asdict(one).items() if value is not None} for one in differences
    ]
    files.write_json(files.path(place) / "against.json", {"other": str(other), "rows": rows})
    lines = [printable(f"{place} above {other}")]
    for one in differences:
        p_value = "" if one.mcnemar_p is None else f"  McNemar p = {one.mcnemar_p:.3g}"
        lines.append(
            f"  {one.suite:20s} {one.language or 'macro':8s} {one.subset:7s} {one.value:+.3f} "
            f"[{one.ci_low:+.3f}, {one.ci_high:+.3f}] n={one.n}{p_value}"
        )
    return "\n".join(lines)


def knowledge(place, primary_only, new_only, suites: list[Suite], primary: str, new: str) -> str:
    """The share of the primary language's knowledge at every checkpoint in `place`; also rows in `measurements/`.

    `primary_only` and `new_only` are places of the models that know one language; where the latter's reference solutions
    were measured (`Options.likelihood`), problems are matched by the bits of theirs.
    """
    place, base, alone = files.path(place), place_of(primary_only), place_of(new_only)
    rows, lines = [], [printable(f"{place}: knowledge of {primary} in {new}")]
    for name in dict.fromkeys(problem.suite for problem in asked_in(suites)):
        asked = [problem for problem in asked_in(suites) if problem.suite == name]

        def solved(at, language, step=None, name=name, asked=asked):
            table = scores.tally(_of(verdicts_of(at, step), {(name, language)}), asked)
            return scores.solved(table, name, language)

        of_primary, of_new = solved(base, primary), solved(alone, new)
        hardness = _hardness(alone, name, new)
        for file in _measured(place):
            share = scores.knowledge_share(of_primary, of_new, solved(place, new, file.stem), hardness)
            about = measurements.read(file).iloc[0]
            common = {key: about[key] for key in ("run", "seed", "step", "tokens", "tokens_by_language")}
            of_file = scores.knowledge_rows(share, new, {"suite": name, "primary": primary})
            rows += [measurements.row(**common, **row) for row in of_file]
            lines += [
                f"  {name:20s} {file.stem:14s} {row['metric']:18s} {row['value']:.3f} "
                f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}] n={row['n']}"
                for row in of_file
            ]
    measurements.write(place / "measurements" / "knowledge_share.parquet", measurements.table(rows))
    return "\n".join(lines)


def _of(verdicts: list[Verdict], names: set[tuple[str, str]]) -> list[Verdict]:
    """The verdicts on these (suite, language)."""
    return [verdict for verdict in verdicts if (verdict.suite, verdict.language) in names]


def _hardness(place, suite: str, language: str) -> dict[int, float] | None:
    """Task number -> bits of its reference solution for the model of a place, at its last checkpoint; None: not measured."""
    frame = measurements.read(_measured(place)[-1])
    frame = frame[(frame["metric"] == "solution_bits") & (frame["language"] == language)]
    mine = frame[measurements.option(frame, "suite") == suite]
    return dict(zip(mine["item"], mine["value"], strict=True)) or None
