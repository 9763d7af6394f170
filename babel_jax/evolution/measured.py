"""From measurement rows to curves: everything that the report shows and that Algorithm 1 reads, as plain arrays.

A *curve* is a dict: steps [C], value_SxC (one row per seed, NaN where not measured), mean, low, high [C], n
(observations behind one seed's value) and `interval`, which says what low and high are. Letters as in statistics.py,
L layers.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
from scipy import stats

from babel_jax import statistics
from babel_jax.bridge import Keyed
from babel_jax.evolution import knowledge, stages
from babel_jax.evolution.stages import Stages
from babel_jax.statistics import Estimate

UNIT_INTERVAL = {"accuracy", "share", "coverage"}  # metrics with one of these words in their name lie in [0, 1]


@dataclasses.dataclass(frozen=True)
class Point(Estimate):
    """A curve at one step, or its end level.

    Attributes:
      by_seed: [S]; seeds: their numbers, in the same order.
    """

    by_seed: np.ndarray
    seeds: list[int]


@dataclasses.dataclass(frozen=True)
class Change(Point):
    """How much later a curve stands than before: `before` and `after` are means of the seeds that have both."""

    before: float
    after: float


@dataclasses.dataclass(frozen=True)
class Cut(Change):
    """The change from peak to end of the neurons that LAPE counts, with the share of neurons that it selects."""

    top_rate: float


@dataclasses.dataclass(frozen=True)
class Curve(Keyed):
    """Values over the checkpoints of one run.

    Attributes:
      steps: optimiser steps [C].
      value_SxC: one row a seed, NaN where not measured.
      mean, low, high: over the seeds, and its interval [C].
      n: observations behind one seed's value.
      interval: what low and high are.
      unit: whether its values lie in [0, 1].
    """

    steps: np.ndarray
    value_SxC: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: int
    seeds: list[int]
    interval: str
    unit: bool


@dataclasses.dataclass(frozen=True)
class KnowledgeCurve(Curve):
    """A knowledge share with the share of a model that solves all, its mean and by seed, and what was solved [S, C]."""

    ceiling: float
    ceiling_by_seed: list[float]
    solved_SxC: np.ndarray


@dataclasses.dataclass(frozen=True)
class Solved(Keyed):
    """Which problem was solved when, at the steps that all seeds have.

    Attributes:
      seeds: S of them; steps: [C].
      solved: one array [C, Q] of 0/1 a seed (Q may differ).
      item, subset: each problem's number and subset, [Q] a seed.
    """

    seeds: list[int]
    steps: np.ndarray
    solved: list[np.ndarray]
    item: list[np.ndarray]
    subset: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Curves(Keyed):
    """All curves of continual pre-training in one new language; what was not measured is absent, or None.

    Attributes:
      primary, new: the two languages.
      seeds: of any run.
      problems: of each seed; None where none was judged.
      peak_step: of the best checkpoint of the continual run (`stages.peak`); None where no problem was judged.
      continual, control: the stages of the two runs.
      stages_by_seed: {seed: its steps by stage, or None where no transition is seen}.
      accuracy: {(run, language, subset): curve}; word_accuracy: of the words that need the primary.
      loss: {(run, language, metric): curve}.
      lens: {(run, metric): one curve a layer, None where there is none}; lens_subset: the slots that they are of.
      neurons: {(run, definition): curve}; sensitivity: the change of the LAPE count by its cut.
      knowledge: {run: curve}; unlearned: of the two models that it rests on those that have learned nothing.
      patches: {part: curve}.
    """

    primary: str
    new: str
    seeds: list[int]
    problems: list[int] | None
    peak_step: int | None
    continual: Stages | None
    control: Stages | None
    stages_by_seed: dict[int, dict | None]
    accuracy: dict[tuple[str, str, str], Curve]
    word_accuracy: Curve | None
    loss: dict[tuple[str, str, str], Curve]
    lens_subset: str
    lens: dict[tuple[str, str], list[Curve | None]]
    neurons: dict[tuple[str, str], Curve]
    sensitivity: list[Cut]
    knowledge: dict[str, KnowledgeCurve]
    unlearned: list[str]
    patches: dict[str, Curve]

    @property
    def stages(self) -> dict | None:
        """The steps of the continual run's stages by name; None where no transition is seen."""
        return self.continual and self.continual.stages


@dataclasses.dataclass(frozen=True)
class Mix(Keyed):
    """A from-scratch run at its last step.

    Attributes:
      run: its name; name: that among the mixes.
      made: by what, and from what, as its mixture file says; None: it has none.
      stages: as a config has them.
      tokens, steps: of the run.
      shares: {language: of the tokens seen, mean of the seeds}.
      seeds: S of them.
      score, loss, loss_knowledge, primary_share: {language: [S]}; the last is the mean pairwise lens of the
        intermediate layers, of the new languages alone.
      solved: {language: one [Q] of 0/1 a seed}; {} where answers are not known.
      macro: [S], the mean score of all languages.
    """

    name: str
    seeds: list[int]
    macro: np.ndarray
    score: dict[str, np.ndarray]
    run: str = ""
    made: dict | None = None
    stages: list[dict] = dataclasses.field(default_factory=list)
    tokens: int = 0
    steps: int = 0
    shares: dict[str, float] = dataclasses.field(default_factory=dict)
    solved: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)
    loss: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    loss_knowledge: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    primary_share: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Observation(Keyed):
    """What the optimiser of the corpus works on: one new language's continual run.

    Attributes:
      language: its name.
      steps, tokens: [C], the latter of the new language seen by then.
      seeds: S of them.
      solved: one array [C, Q] of 0/1 a seed.
      score_SxC: accuracies; problems: of a seed.
      losses, loss_errors: {source: [S, C]}; standard errors, NaN: unknown.
      shares: {source: [S, C]} of the primary, as they were measured. What was not measured everywhere is absent.
      residuals: {source: [C, P]}, of several primaries: see `algorithm1.merge_primaries`.
    """

    language: str
    steps: np.ndarray
    tokens: np.ndarray
    seeds: list[int]
    solved: list[np.ndarray]
    score_SxC: np.ndarray
    problems: int
    losses: dict[str, np.ndarray]
    loss_errors: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]
    residuals: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


def select(frame: pd.DataFrame, options: dict | None = None, **columns) -> pd.DataFrame:
    """The rows with these values in these columns and these entries among their `options`."""
    keep = np.ones(len(frame), bool)
    for name, value in columns.items():
        keep &= (frame[name] == value).to_numpy(bool)
    frame = frame[keep]
    if options:
        matches = {
            text: all(json.loads(text).get(key) == value for key, value in options.items())
            for text in frame["options"].unique()
        }
        frame = frame[frame["options"].map(matches).to_numpy(bool)]
    return frame


def curve(frame: pd.DataFrame, options: dict | None = None, **columns) -> dict | None:
    """One curve over the steps of one run, over all seeds; None where no row fits.

    Two seeds or more: mean and Student t interval over seeds. One seed: the interval of the measurement itself (Wilson
    over problems where an accuracy row brings none).
    """
    rows = select(frame, options, **columns)
    if rows.empty:
        return None
    seeds, place_seed = np.unique(rows["seed"], return_inverse=True)
    steps, place_step = np.unique(rows["step"], return_inverse=True)
    wide_4xSxC = np.full((4, len(seeds), len(steps)), np.nan)
    for values_SxC, name in zip(wide_4xSxC, ("value", "n", "ci_low", "ci_high"), strict=True):
        values_SxC[place_seed, place_step] = rows[name]
    return _with_interval(
        steps,
        *wide_4xSxC[:2],
        own=wide_4xSxC[2:, 0],
        seeds=seeds.tolist(),
        unit=not UNIT_INTERVAL.isdisjoint(columns.get("metric", "").split("_")),
    )


def _with_interval(steps_C, value_SxC, n_SxC, own, seeds, unit: bool) -> dict:
    mean, low, high = statistics.student(value_SxC)
    interval = f"Student t over {len(seeds)} seeds"
    if len(seeds) == 1:
        low, high = own
        interval = "over the one seed's problems, slots or rows"
        if unit and np.isnan(low).all():
            low, high = statistics.wilson(mean, n_SxC[0])
            interval = "Wilson over the one seed's problems"
    if unit:
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return {
        "steps": np.asarray(steps_C), "value_SxC": value_SxC, "mean": mean, "low": low, "high": high,
        "n": int(np.nanmax(n_SxC)), "seeds": seeds, "interval": interval, "unit": unit,
    }  # fmt: skip


def at(curve: dict | None, step: int) -> dict | None:
    """Value, interval and per-seed values of a curve at a step: {"value", "ci", "by_seed", "seeds"}; None if not measured."""
    if curve is None or step not in curve["steps"]:
        return None
    index = int(np.flatnonzero(curve["steps"] == step)[0])
    interval = curve["low"][index], curve["high"][index]
    return _point(curve["mean"][index], *interval, curve["value_SxC"][:, index], curve["seeds"])


def last(curve: dict | None) -> dict | None:
    """The same at the last step of a curve."""
    return None if curve is None else at(curve, curve["steps"][-1])


def end(curve: dict | None) -> dict | None:
    """The same for the end level, the mean over the last quarter of the checkpoints.

    One seed: the bounds are the means of the checkpoints' bounds; they share their problems, so averaging them over
    checkpoints does not narrow the interval.
    """
    if curve is None:
        return None
    weights_C = stages.end_C(len(curve["steps"]))
    last = weights_C > 0  # earlier checkpoints may be undefined: no share of no solved problem
    by_seed = curve["value_SxC"][:, last] @ weights_C[last]
    if len(by_seed) == 1:
        interval = (curve[bound][last] @ weights_C[last] for bound in ("low", "high"))
        return _point(by_seed[0], *interval, by_seed, curve["seeds"])
    mean, low, high = statistics.student(by_seed)
    if curve["unit"]:
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return _point(mean, low, high, by_seed, curve["seeds"])


def _point(value, low, high, by_seed, seeds) -> dict:
    values_S = np.asarray(by_seed, float)
    return {"value": float(value), "ci": [float(low), float(high)], "by_seed": values_S, "seeds": list(seeds)}


def difference(first: dict, second: dict) -> dict:
    """Second minus first of two points as `at` gives them, paired by seed: another one, over the seeds that both have.

    NaN where they have none in common; no interval where they have one.
    """
    seeds = [seed for seed in first["seeds"] if seed in second["seeds"]]
    one_S, two_S = (point["by_seed"][[point["seeds"].index(seed) for seed in seeds]] for point in (first, second))
    found = statistics.paired_difference(one_S, two_S) if seeds else [np.nan] * 3
    return _point(*found, two_S - one_S, seeds)


def change(curve: dict | None, step: int) -> dict | None:
    """End level minus the value at `step`, a point as of `at`, with both ("before", "after"); Student t over the seeds'
    differences. The means before and after are those of the seeds that have both, so that they differ by the change.

    One seed: the bounds come from the bounds of both values, which is wider than a paired interval would be.
    """
    before, after = at(curve, step), end(curve)
    if before is None:
        return None
    found = difference(before, after)
    both_S = ~np.isnan(before["by_seed"] + after["by_seed"])  # a share of nothing solved is no number
    for name, point in (("before", before), ("after", after)):
        found[name] = float(point["by_seed"][both_S].mean()) if both_S.any() else float("nan")
    if len(before["by_seed"]) == 1:
        found["ci"] = [after["ci"][0] - before["ci"][1], after["ci"][1] - before["ci"][0]]
    return found


def solved(frame: pd.DataFrame, run: str, language: str) -> dict | None:
    """Which problem was solved when: {"seeds", "steps" [C], "solved": [C, Q] per seed, "item", "subset": [Q] per seed}.

    Only steps that all seeds have; None where nothing was judged at such a step.
    """
    rows = select(frame, probe="evaluation", metric="solved", run=run, language=language)
    if rows.empty:
        return None
    subset_of = {text: json.loads(text).get("subset", "all") for text in rows["options"].unique()}
    table = {
        name: rows[name].to_numpy() for name in ("seed", "step", "item", "value")
    } | {"subset": rows["options"].map(subset_of).to_numpy(str)}  # fmt: skip
    by_seed = {
        seed: _answers({name: of[table["seed"] == seed] for name, of in table.items()})
        for seed in np.unique(table["seed"])
    }
    steps = sorted(set.intersection(*(set(found["step"].tolist()) for found in by_seed.values())))
    if not steps:
        return None
    return {
        "seeds": [seed.item() for seed in by_seed],
        "steps": np.array(steps),
        "solved": [found["solved_CxQ"][np.searchsorted(found["step"], steps)] for found in by_seed.values()],
        "item": [found["item"] for found in by_seed.values()],
        "subset": [found["subset"] for found in by_seed.values()],
    }


def _answers(table: dict) -> dict:
    """One seed's answers as an array: {"step" [C], "item" [Q], "subset" [Q], "solved_CxQ"}, of problems judged at all steps."""
    step, c = np.unique(table["step"], return_inverse=True)
    item, first, q = np.unique(table["item"], return_index=True, return_inverse=True)
    solved_CxQ = np.full((len(step), len(item)), np.nan)
    solved_CxQ[c, q] = table["value"]
    whole_Q = ~np.isnan(solved_CxQ).any(0)
    return {
        "step": step,
        "item": item[whole_Q],
        "subset": table["subset"][first][whole_Q],
        "solved_CxQ": solved_CxQ[:, whole_Q],
    }


def knowledge_curve(frame: pd.DataFrame, run: str, primary: str, new: str) -> dict | None:
    """Knowledge share of a run as a curve with `ceiling` and `ceiling_by_seed`; None where it has no meaning.

    It needs problems that are the same in both languages: those of a world with subsets. Call sites of real code
    (subset "all") are not. And it needs a primary-only and a new-only model that have learned (`unlearned`): which problems
    need the primary is what the one solves and the other does not.
    """
    parts = [solved(frame, *key) for key in ((run, new), ("primary_only", primary), ("new_only", new))]
    if any(part is None or set(np.concatenate(part["subset"])) <= {"all"} for part in parts):
        return None
    if not all(stages.learned([array[-1] for array in part["solved"]]) for part in parts[1:]):
        return None
    seeds = sorted(set.intersection(*(set(part["seeds"]) for part in parts)))
    if not seeds:
        return None
    shares = []
    for seed in seeds:
        here, base, alone = ((part, part["seeds"].index(seed)) for part in parts)
        items = here[0]["item"][here[1]]
        if not all(np.array_equal(items, part["item"][index]) for part, index in (base, alone)):
            return None
        needs_Q = knowledge.needs_primary_Q(base[0]["solved"][base[1]][-1], alone[0]["solved"][alone[1]][-1])
        shares.append(knowledge.knowledge_share(needs_Q, here[0]["solved"][here[1]]))
    share_SxC = np.array([share["share_C"] for share in shares])
    solved_SxC = np.array([share["solved_C"] for share in shares], float)
    missing = np.full(share_SxC.shape[1], np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        result = _with_interval(parts[0]["steps"], share_SxC, solved_SxC, (missing, missing), seeds, unit=True)
    ceilings = [share["ceiling"] for share in shares]
    return result | {"ceiling": float(np.mean(ceilings)), "ceiling_by_seed": ceilings, "solved_SxC": solved_SxC}


def unlearned(frame: pd.DataFrame, primary: str, new: str) -> list[str]:
    """Of the two models that the knowledge share rests on, those that were judged and have not learned their language."""
    judged = {"primary_only": solved(frame, "primary_only", primary), "new_only": solved(frame, "new_only", new)}
    return [run for run, part in judged.items() if part and not stages.learned([array[-1] for array in part["solved"]])]


def curves(frame: pd.DataFrame, primary: str, new: str) -> dict:
    """All curves of a study, from its measurement rows.

    Returns a dict:
      steps, decline (stages.decline of `continual` in the new language), stages, stages_by_seed {seed: stages},
      control_decline, control_stages; accuracy {(run, language, subset)}, bits_per_byte and loss {(run, language,
      metric)}, lens {(run, metric)} -> [L curves], lens_subset, neurons {(run, definition)}, sensitivity [{"top_rate",
      "value", "ci"}] (change of the LAPE count from peak to end), knowledge {run}, unlearned [runs] (`unlearned`), patches {part:
      curve}, seeds. What was not measured is absent or None.
    """
    frame = frame.astype({name: "category" for name in ("run", "probe", "language", "metric", "options")})
    light = frame[frame["metric"] != "solved"]
    continual, control = (solved(frame, run, new) for run in ("continual", "control"))
    result = {"primary": primary, "new": new, "seeds": sorted(frame["seed"].unique().tolist())}
    for prefix, part in (("", continual), ("control_", control)):
        found = part and stages.decline(part["steps"], part["solved"])
        result[f"{prefix}decline"] = found
        result[f"{prefix}stages"] = part and stages.bounds(part["steps"], part["solved"], found)
    result["problems"] = continual and [array.shape[1] for array in continual["solved"]]
    result["stages_by_seed"] = (
        {}
        if continual is None
        else {
            s: stages.find_stages(continual["steps"], [a])
            for s, a in zip(continual["seeds"], continual["solved"], strict=True)
        }
    )
    runs = ("continual", "control")
    result["accuracy"] = _known(
        {
            (run, language, subset): curve(
                light, {"subset": subset}, probe="evaluation", run=run, language=language, metric="accuracy"
            )
            for run in (*runs, "primary_only", "new_only")
            for language in (primary, new)
            for subset in ("all", "shared", "transfer")
        }
    )
    result["word_accuracy"] = curve(
        light, {"subset": "transfer"}, probe="evaluation", run="continual", language=new, metric="word_accuracy"
    )
    result["loss"] = _known(
        {
            (run, language, metric): curve(light, run=run, language=language, metric=metric, layer=-1)
            for run in runs
            for language in (primary, new)
            for metric in ("loss", "loss_knowledge", "bits_per_byte")
        }
    )
    lens = select(light, probe="lens", language=new)
    subsets = {json.loads(text).get("subset", "all") for text in lens["options"].unique()}
    result["lens_subset"] = "shared" if "shared" in subsets else "all"
    result["lens"] = {
        (run, metric): [
            curve(lens, {"subset": result["lens_subset"]}, run=run, metric=metric, layer=layer)
            for layer in sorted(lens["layer"].unique())
        ]
        for run in runs
        for metric in ("primary_share_prob", "primary_share_pair", "primary_share_argmax", "argmax_coverage")
        if not select(lens, run=run, metric=metric).empty
    }
    neurons = select(light, probe="neurons", layer=-1)
    result["neurons"] = _known(
        {
            (run, definition): curve(neurons, run=run, language=new, metric=definition)
            for run in runs
            for definition in ("lape_target", "pair_shared", "functional")
        }
    )
    result["sensitivity"] = _sensitivity(neurons, new, result["decline"])
    result["knowledge"] = _known({run: knowledge_curve(frame, run, primary, new) for run in runs})
    result["unlearned"] = unlearned(frame, primary, new)
    result["patches"] = _known(
        {
            part: curve(
                light, {"subset": "transfer", "patched": part}, probe="patch", language=new, metric="word_accuracy"
            )
            for part in ("none", "embeddings", "ffn", "blocks")
        }
    )
    return result


def _known(table: dict) -> dict:
    return {key: value for key, value in table.items() if value is not None}


def _sensitivity(neurons: pd.DataFrame, new: str, decline: dict | None) -> list[dict]:
    rows = select(neurons, run="continual", language=new, metric="lape_target_sensitivity")
    if decline is None or rows.empty:
        return []
    rates = sorted({json.loads(text)["top_rate"] for text in rows["options"].unique()})
    found = []
    for rate in rates:
        point = change(curve(rows, {"top_rate": rate}), decline["peak_step"])
        if point is not None:
            found.append({"top_rate": float(rate), **point})
    return found


def working_language(lens: list[dict | None]) -> dict | None:
    """The curve of the mean over the intermediate layers: all but the last, whose lens is the output itself."""
    inner = [layer for layer in lens[:-1] if layer is not None] or [layer for layer in lens if layer is not None]
    if not inner:
        return None
    stacked = {name: np.mean([layer[name] for layer in inner], axis=0) for name in ("value_SxC", "low", "high")}
    mean, low, high = statistics.student(stacked["value_SxC"])
    if len(inner[0]["seeds"]) == 1:  # the layers share their slots: averaging bounds does not narrow them
        low, high = stacked["low"], stacked["high"]
    return inner[0] | {
        "value_SxC": stacked["value_SxC"],
        "mean": mean,
        "low": np.clip(low, 0, 1),
        "high": np.clip(high, 0, 1),
    }


def language_of(run: str, languages) -> str | None:
    """The new language that a run's name ends in, the longest that fits; with one new language that one. None: no language."""
    if len(languages) == 1:
        return languages[0]
    return max((language for language in languages if run.endswith(f"_{language}")), key=len, default=None)


def view(frame: pd.DataFrame, primary: str, new: str, languages) -> pd.DataFrame:
    """The rows about the primary and one of the new `languages`, run names as in a study of that language alone."""
    frame = frame[frame["language"].isin(["", primary, new]).to_numpy(bool)]
    if len(languages) == 1:
        return frame
    runs = frame["run"].unique()
    mixes = {run: run for run in runs if run.startswith("mix_")}
    names = {run: run.removesuffix(f"_{new}") for run in runs if language_of(run, languages) in (None, new)} | mixes
    frame = frame[frame["run"].isin(names).to_numpy(bool)]
    return frame.assign(run=frame["run"].map(names).astype(frame["run"].dtype))


def measured_shares(curves: dict) -> dict[str, dict]:
    """The primary system's share as it was measured over continual pre-training: {name: curve in [0, 1]}.

    knowledge_share; working_language (mean of the intermediate layers, pairwise); functional_neurons (of all neurons).
    """
    count = curves["neurons"].get(("continual", "functional"))
    found = {
        "knowledge_share": curves["knowledge"].get("continual"),
        "working_language": working_language(curves["lens"].get(("continual", "primary_share_pair"), [])),
        "functional_neurons": count
        and count | {name: count[name] / count["n"] for name in ("value_SxC", "mean", "low", "high")},
    }
    return _known(found)


def observation(frame: pd.DataFrame, curves: dict) -> dict | None:
    """What the optimiser of the corpus works on, of a view: the continual run's losses, scores and measured shares.

    Returns None where no problem was judged, else a dict: language; steps, tokens (of the new language seen) [C]; seeds;
    solved, a list of [C, Q]; score_SxC; problems (of a seed); losses, loss_errors (standard errors, NaN: unknown) and
    shares, each {source: [S, C]} on these steps and seeds; what was not measured at all of them is absent.
    """
    new = curves["new"]
    judged = solved(frame, "continual", new)
    if judged is None:
        return None
    steps, seeds = judged["steps"], judged["seeds"]

    def on_steps(found: dict | None, name: str = "value_SxC"):
        if found is None or found["seeds"] != seeds or not set(steps) <= set(found["steps"]):
            return None
        return found[name][:, np.searchsorted(found["steps"], steps)]

    rows = select(frame[frame["metric"] != "solved"], run="continual", language=new, layer=-1)
    seen = rows.drop_duplicates("step").set_index("step")["tokens_by_language"]
    losses, errors = {}, {}
    for metric in ("loss", "loss_knowledge"):
        found = curve(rows, metric=metric)
        values = on_steps(found)
        if values is None:
            continue
        chosen = rows[(rows["metric"] == metric).to_numpy(bool)]
        half = (chosen["ci_high"] - chosen["ci_low"]) / (2 * stats.norm.ppf(statistics.TAILS[1]))
        wide = chosen.assign(error=half).pivot_table(index="seed", columns="step", values="error", dropna=False)
        losses[metric] = values
        errors[metric] = wide.reindex(index=seeds, columns=steps).to_numpy(float)
    shares = {name: on_steps(found) for name, found in measured_shares(curves).items()}
    return {
        "language": new,
        "steps": steps,
        "tokens": np.array([json.loads(seen[step]).get(new, 0) for step in steps], float),
        "seeds": seeds,
        "solved": judged["solved"],
        "score_SxC": np.array([solved_CxQ.mean(1) for solved_CxQ in judged["solved"]]),
        "problems": judged["solved"][0].shape[1],
        "losses": losses,
        "loss_errors": errors,
        "shares": _known(shares),
    }


def mixes(frame: pd.DataFrame, languages: list[str], files_of: dict[str, dict] | None = None) -> list[dict]:
    """The from-scratch mixes at their last step, in the order of their names.

    Args:
      languages: the primary, then the new ones.
      files_of: by name, what is known of a mix beside its measurements: "stages" and "made" of its mixture file.
    Returns:
      A list of dicts: run, name, made, stages, tokens, steps; shares {language: of the tokens seen, mean of the seeds}; seeds;
      score, loss, loss_knowledge, primary_share (mean pairwise lens of the intermediate layers) {language: [S]};
      solved {language: one [Q] per seed}; macro [S], the mean score of all languages. Only what is measured in every
      seed that has begun.
    """
    frame, found = frame[frame["run"].str.startswith("mix_").to_numpy(bool)], []
    for run, rows in frame.groupby("run", observed=True):
        rows = rows[(rows["step"] == rows.groupby("seed")["step"].transform("max")).to_numpy(bool)]
        judged = {language: solved(rows, run, language) for language in languages}
        if any(part is None for part in judged.values()):
            continue
        seeds = judged[languages[0]]["seeds"]
        if any(part["seeds"] != seeds or len(part["steps"]) != 1 for part in judged.values()):
            continue
        light = rows[rows["metric"] != "solved"]
        first = light.iloc[0]
        seen_S = [json.loads(text) for text in light.drop_duplicates("seed")["tokens_by_language"]]
        name = str(run).removeprefix("mix_")
        about = (files_of or {}).get(name, {})
        shares = {
            language: float(np.mean([seen.get(language, 0) / (sum(seen.values()) or 1) for seen in seen_S]))
            for language in languages
        }
        score = {language: np.array([s[-1].mean() for s in judged[language]["solved"]]) for language in languages}
        found.append(
            {
                "run": str(run),
                "name": name,
                "made": about.get("made"),
                "stages": about.get("stages") or [{"tokens": 0, "weights": shares}],
                "tokens": int(first["tokens"]),
                "steps": int(first["step"]),
                "shares": shares,
                "seeds": seeds,
                "score": score,
                "macro": np.mean([score[language] for language in languages], axis=0),
                "solved": {language: [s[-1] for s in judged[language]["solved"]] for language in languages},
                **{
                    metric: {language: _by_seed(light, seeds, language, metric) for language in languages}
                    for metric in ("loss", "loss_knowledge")
                },
                "primary_share": {language: _lens_by_seed(light, seeds, language) for language in languages[1:]},
            }
        )
    return found


def _by_seed(frame: pd.DataFrame, seeds: list, language: str, metric: str) -> np.ndarray:
    rows = select(frame, language=language, metric=metric, layer=-1).drop_duplicates("seed")
    return rows.set_index("seed")["value"].reindex(seeds).to_numpy(float)


def _lens_by_seed(frame: pd.DataFrame, seeds: list, language: str) -> np.ndarray:
    """Mean over the intermediate layers, by seed, on the places that the shared words have (all, where it has no others)."""
    rows = select(frame, probe="lens", language=language, metric="primary_share_pair")
    for subset in ("shared", "all"):
        here = select(rows, {"subset": subset})
        if not here.empty:
            here = here[(here["layer"] < here["layer"].max()).to_numpy(bool)]
            return here.groupby("seed")["value"].mean().reindex(seeds).to_numpy(float)
    return np.full(len(seeds), np.nan)
