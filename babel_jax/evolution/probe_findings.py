"""What a probe found, read back from its folder: curves over checkpoints, and what stands at the last of them.

A probe's folder holds a folder for each run of each seed (`measuring/probe_walk.py`). Runs of one name are one branch over
their seeds, with Student t intervals over these; a branch of one seed keeps the intervals of its own rows, over prompts, rows or
problems. Phases of a run (an anneal behind a stable phase, say) are branches of their own.

Letters: S seeds, C checkpoints, L layers, P pairs of identifiers, N prompts, M values of what is varied.
"""

import dataclasses
import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError
from babel_jax.common.statistics import Effect, Estimate
from babel_jax.evolution import curve as curves
from babel_jax.evolution import mechanism, probe_tasks
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.probe_tasks import ProbeTasks
from babel_jax.evolution.selection import select
from babel_jax.measuring import probe_record
from babel_jax.probes import artefacts

LOSSES = ("bits_per_byte", "loss", "loss_knowledge")
LENS = (
    *("primary_share_pair", "primary_share_others", "concept_share", "primary_share_prob", "primary_share_argmax"),
    "argmax_coverage",
)
IDENTIFIERS = "language_share_prob"  # by the language whose identifier it is
NOT_DEFINITIONS = ("threshold", "quantile", "lape_passed", "chosen", "double_members")


@dataclasses.dataclass(frozen=True)
class Flow:
    """A set of neurons along the C checkpoints: means over seeds; births and deaths since the one before, NaN at the first."""

    births_C: np.ndarray
    deaths_C: np.ndarray
    size_C: np.ndarray


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Two sets of neurons, each "definition:language", at the last checkpoint, first seed.

    `random`: the Jaccard index of two random sets with as many neurons in every layer, from the number that they are expected
    to have in common; `p`: how often such sets have at least as many in common as these.
    """

    first: str
    second: str
    common: float
    jaccard: Estimate
    random: float
    p: float


@dataclasses.dataclass(frozen=True)
class Cause:
    """What became of a metric in a language when the neurons of `neurons` were changed, at the last checkpoint.

    `random`: where a random set of as many neurons in the same layers lies; `difference`: from their mean.
    """

    neurons: str
    size: float
    kind: str
    language: str
    metric: str
    change: Estimate
    random: Estimate
    difference: Effect


@dataclasses.dataclass(frozen=True)
class PairMap:
    """What the lens reads at the prompts of one language, pair by pair: means over the pair's prompts, of the first seed.

    Attributes:
      at_C: tokens or steps of the checkpoints; at most `MOST_AT`, evenly spread.
      pairs: [{"primary", "new", "prompts"}], those with the most prompts first, at most `MOST_PAIRS`.
      share_CxLxP: p(A) / (p(A) + p(B)), A the primary's name and B the new language's.
      covered_CxLxP: prompts whose most probable token is one of the two.
    """

    at_C: list[int]
    pairs: list[dict]
    share_CxLxP: np.ndarray
    covered_CxLxP: np.ndarray


MOST_AT, MOST_PAIRS = 24, 24


@dataclasses.dataclass(frozen=True)
class Branch:
    """One line of checkpoints: a run over its seeds, or a phase of it. What was not measured is absent.

    Attributes:
      name: of the run, and the phase; parent: what it branches off, "" for nothing.
      seeds: S; at_C: where its checkpoints lie on the common axis, in tokens or steps; steps_C.
      about: the description of its last checkpoint's artefact; record: its `probed.json` ({} of an older probe).
      losses: {(metric, language): curve}.
      lens, tuned: {(metric, prompts' language): a curve a layer}; by the logit lens, by a trained one.
      identifiers: {(prompts' language, identifiers' language): a curve a layer}.
      working: {(metric, prompts' language): curve} over the layers `working_layers`.
      neurons: {(definition, language): curve}; layers_of_neurons: the same, a curve a layer.
      sensitivity: {(definition, language, varied): [its curve over M values at each checkpoint]}.
      flows: {"definition:language": flow}; overlaps, causes: at the last checkpoint.
      alignment: {language: a curve a layer}; aligned: {language: curve} of the mean over layers; aligned_chance: by language.
      maps: {prompts' language: map}.
      tasks: what was asked, and the sentences that were looked for.
    """

    name: str
    parent: str
    seeds: list[int]
    at_C: np.ndarray
    steps_C: np.ndarray
    about: dict
    record: dict
    losses: dict[tuple[str, str], Curve]
    lens: dict[tuple[str, str], list[Curve | None]]
    tuned: dict[tuple[str, str], list[Curve | None]]
    identifiers: dict[tuple[str, str], list[Curve | None]]
    working: dict[tuple[str, str], Curve]
    working_layers: str
    neurons: dict[tuple[str, str], Curve]
    layers_of_neurons: dict[tuple[str, str], list[Curve | None]]
    sensitivity: dict[tuple[str, str, str], list[Curve]]
    flows: dict[str, Flow]
    overlaps: list[Overlap]
    causes: list[Cause]
    alignment: dict[str, list[Curve | None]]
    aligned: dict[str, Curve]
    aligned_chance: dict[str, float]
    maps: dict[str, PairMap]
    tasks: ProbeTasks = ProbeTasks()

    @property
    def layers(self) -> int:
        return self.about["layers"]

    @property
    def is_followed(self) -> bool:
        """Whether there are checkpoints to compare."""
        return len(self.at_C) > 1


@dataclasses.dataclass(frozen=True)
class ProbeFindings:
    """Everything that a probe's page shows.

    Attributes:
      primary, languages: names; the primary first.
      by_tokens: whether checkpoints are placed by tokens; by optimiser steps otherwise.
      seed_overlap: {(run, set): (Jaccard index between seeds at the last common step, that of random sets)}.
    """

    primary: str
    languages: list[str]
    by_tokens: bool
    branches: list[Branch]
    seed_overlap: dict[tuple[str, str], tuple[float, float]]

    @property
    def new(self) -> list[str]:
        return self.languages[1:]


# --- the folder -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Place:
    """A run's folder: its rows, and {step: (artefact's path, its description)}."""

    folder: object
    rows: pd.DataFrame
    stored: dict[int, tuple]
    record: dict


def is_probe(out) -> bool:
    """Whether a folder holds what `probe` writes."""
    return any(True for _ in files.path(out).glob("*/*/step_*.npz"))


def read(out) -> ProbeFindings:
    """What the probe whose folder this is has found.

    Raises:
      UserError: it holds no finished probe, one that cannot be read, or runs whose primary languages differ.
    """
    folders = sorted({path.parent for path in files.path(out).glob("*/*/step_*.npz")})
    groups = _grouped([_read_place(folder) for folder in folders])
    if not groups:
        raise UserError(f"{out} holds no finished probe; run `probe --out={out}` again.")
    abouts = [about for places in groups.values() for place in places for _, about in place.stored.values()]
    primaries, languages = {about["primary"] for about in abouts}, {name for one in abouts for name in one["languages"]}
    if len(primaries) > 1:
        raise UserError(
            f"{out} holds probes with the primary languages {' and '.join(sorted(primaries))}; keep them in two folders."
        )
    (primary,) = primaries
    by_tokens = all(_increase(place) for places in groups.values() for place in places)
    branches = [_branch(name, places, by_tokens) for name, places in groups.items()]
    return ProbeFindings(
        primary=primary,
        languages=[primary, *sorted(languages - {primary})],
        by_tokens=by_tokens,
        branches=sorted(branches, key=lambda branch: bool(branch.parent)),
        seed_overlap=_seed_overlap(files.path(out) / "seeds"),
    )


def _read_place(folder) -> _Place:
    stored = {}
    for path in sorted(folder.glob("step_*.npz")):
        about = artefacts.about(path)
        stored[about["step"]] = (path, about)
    record = folder / probe_record.NAME
    about = files.read_json(record, dict, "delete it and probe again") if record.exists() else {}
    return _Place(folder, measurements.read(folder), dict(sorted(stored.items())), about)


def _grouped(places: list[_Place]) -> dict[str, list[_Place]]:
    """The places of each branch, one a seed: by the name of the run and its phase.

    Runs of one name but of different models, or twice of one seed, are branches of their own, called by their folder, too.
    """
    of_run: dict[str, list[_Place]] = {}
    for place in places:
        of_run.setdefault(place.folder.name, []).append(place)
    groups: dict[str, list[_Place]] = {}
    for run, here in of_run.items():
        models = {about["model"] for place in here for _, about in place.stored.values()}
        seeds = [seed for place in here for seed in place.rows["seed"].unique().tolist()]
        apart = len(seeds) > len(set(seeds)) or len(models) > 1
        for place in here:
            name = f"{place.folder.parent.name}/{run}" if apart else run
            for phase, part in _phases(place).items():
                groups.setdefault(f"{name}, {phase}" if phase not in ("", run) else name, []).append(part)
    return groups


def _phases(place: _Place) -> dict[str, _Place]:
    """The place of each phase that its checkpoints are of; "" where they are of none."""
    steps: dict[str, list[int]] = {}
    for step, (_, about) in place.stored.items():
        steps.setdefault(about.get("phase") or "", []).append(step)
    return {
        phase: dataclasses.replace(
            place,
            rows=place.rows[place.rows["step"].isin(kept).to_numpy(bool)],
            stored={step: place.stored[step] for step in kept},
        )
        for phase, kept in steps.items()
    }


def _increase(place: _Place) -> bool:
    """Whether a place's checkpoints are told apart by tokens."""
    tokens = [about["tokens"] for _, about in place.stored.values()]
    return tokens[-1] > 0 and tokens == sorted(set(tokens))


# --- a branch ---------------------------------------------------------------------------------------------------------------


def _branch(name: str, places: list[_Place], by_tokens: bool) -> Branch:
    """One line of checkpoints, at the steps that all seeds have (where they share none: those of the first)."""
    steps = sorted(set.intersection(*(set(place.stored) for place in places))) or list(places[0].stored)
    first = dataclasses.replace(places[0], stored={step: places[0].stored[step] for step in steps})
    places = [place for place in places if set(steps) <= set(place.stored)]
    rows = pd.concat([place.rows for place in places], ignore_index=True)
    rows = rows[rows["step"].isin(steps).to_numpy(bool)]
    at = {step: about["tokens"] if by_tokens else step for step, (_, about) in first.stored.items()}
    rows = rows.assign(step=rows["step"].map(at))
    of_lens = measurements.option(rows, "lens")
    plain, tuned = rows[(of_lens == "").to_numpy(bool)], rows[(of_lens == "tuned").to_numpy(bool)]
    _, about = first.stored[steps[-1]]
    at_C, layers = np.array([at[step] for step in steps]), about["layers"]
    alignment = select(plain, probe="alignment", metric="mexa")
    working = select(plain, {"subset": "all"}, probe="working_language")
    neurons = _neurons(plain, layers)
    return Branch(
        name=name,
        parent=_parent(about),
        seeds=sorted(rows["seed"].unique().tolist()),
        at_C=at_C,
        steps_C=np.array(steps),
        about=about,
        record=first.record,
        losses={
            key: one for key in _keys(plain, LOSSES) if (one := curves.curve(plain, metric=key[0], language=key[1]))
        },
        lens=_by_layer(select(plain, {"subset": "all"}, probe="lens"), LENS, layers),
        tuned=_by_layer(select(tuned, {"subset": "all"}, probe="lens"), LENS, layers),
        identifiers=_identifiers(select(plain, {"subset": "all"}, probe="lens", metric=IDENTIFIERS), layers),
        working={key: curves.curve(working, metric=key[0], language=key[1]) for key in _keys(working, LENS)},
        working_layers=next(iter(measurements.option(working, "layers")), "") if len(working) else "",
        neurons={key: of[0] for key, of in neurons.items()},
        layers_of_neurons={key: of[1:] for key, of in neurons.items() if any(of[1:])},
        sensitivity=_sensitivity(select(plain, probe="neurons"), at_C),
        flows=_flows(select(plain, probe="drift"), at_C),
        overlaps=_overlaps(select(plain, probe="drift", step=at_C[-1], seed=int(first.rows["seed"].iloc[0]))),
        causes=_causes(select(plain, probe="intervention", step=at_C[-1])),
        alignment={
            language: _layers(alignment, layers, language=language) for _, language in _keys(alignment, ("mexa",))
        },
        aligned={
            language: curves.curve(alignment, layer=-1, language=language)
            for _, language in _keys(alignment, ("mexa",))
        },
        aligned_chance=dict(zip(alignment["language"], measurements.option(alignment, "chance"), strict=True)),
        maps=_maps(first, at_C),
        tasks=probe_tasks.read(plain, layers),
    )


def _parent(about: dict) -> str:
    parent = about.get("parent")
    return f"{parent['run']} at step {parent['step']:,}" if parent else ""


def _keys(rows: pd.DataFrame, metrics: Iterable[str]) -> list[tuple[str, str]]:
    """(metric, language) of the rows, in the order of the metrics and of the languages' names."""
    there = set(zip(rows["metric"], rows["language"], strict=True))
    return [key for metric in metrics for key in sorted(key for key in there if key[0] == metric)]


def _layers(rows: pd.DataFrame, layers: int, **columns) -> list[Curve | None]:
    """A curve for each layer, the first block first."""
    return [curves.curve(rows, layer=layer, **columns) for layer in range(1, layers + 1)]


def _by_layer(rows: pd.DataFrame, metrics, layers: int) -> dict[tuple[str, str], list[Curve | None]]:
    return {key: _layers(rows, layers, metric=key[0], language=key[1]) for key in _keys(rows, metrics)}


def _identifiers(rows: pd.DataFrame, layers: int) -> dict[tuple[str, str], list[Curve | None]]:
    rows = rows.assign(whose=measurements.option(rows, "identifier"))
    keys = sorted(set(zip(rows["language"], rows["whose"], strict=True)))
    return {key: _layers(rows, layers, language=key[0], whose=key[1]) for key in keys}


def _neurons(rows: pd.DataFrame, layers: int) -> dict[tuple[str, str], list[Curve | None]]:
    """{(definition, language): the curve over all layers, then one a layer}."""
    rows = select(rows, probe="neurons")
    rows = rows[~(rows["metric"].isin(NOT_DEFINITIONS) | rows["metric"].str.endswith("_sensitivity")).to_numpy(bool)]
    return {
        key: [
            one and _count(one)
            for one in (
                curves.curve(rows, layer=-1, metric=key[0], language=key[1]),
                *_layers(rows, layers, metric=key[0], language=key[1]),
            )
        ]
        for key in _keys(rows, rows["metric"].unique())
    }


def _count(one: Curve) -> Curve:
    """A curve of numbers of things: no interval reaches below 0."""
    return dataclasses.replace(one, low=np.maximum(one.low, 0))


def _sensitivity(rows: pd.DataFrame, at_C) -> dict[tuple[str, str, str], list[Curve]]:
    """Numbers of neurons over the values of what they depend on, at each checkpoint: the steps of these curves are values."""
    rows = rows[rows["metric"].str.endswith("_sensitivity").to_numpy(bool)]
    rows = rows.assign(varied=measurements.option(rows, "varied"))
    found = {}
    for key in sorted(set(zip(rows["metric"], rows["language"], rows["varied"], strict=True))):
        here = select(rows, metric=key[0], language=key[1], varied=key[2])
        if key[2] == "score":  # each seed is counted at scores of its own
            here = here[(here["seed"] == here["seed"].min()).to_numpy(bool)]
        here = here.assign(at=here["step"], step=measurements.option(here, key[2]).astype(float))
        of_at = [curves.curve(here, at=at) for at in at_C.tolist()]
        found[key[0].removesuffix("_sensitivity"), *key[1:]] = [_count(one) for one in of_at if one]
    return found


def _flows(rows: pd.DataFrame, at_C) -> dict[str, Flow]:
    rows = rows[rows["metric"].isin(["size", "births", "deaths"]).to_numpy(bool)]
    rows = rows.assign(set=measurements.option(rows, "set"))
    flows = {}
    for name in rows["set"].unique():
        of_set = {metric: curves.curve(rows, set=name, metric=metric) for metric in ("births", "deaths", "size")}
        flows[name] = Flow(**{f"{metric}_C": _on(one, at_C) for metric, one in of_set.items()})
    return flows


def _on(one: Curve | None, at_C) -> np.ndarray:
    """A curve's means at all checkpoints; NaN where it has none."""
    mean_C = np.full(len(at_C), np.nan)
    if one:
        mean_C[np.searchsorted(at_C, one.steps)] = one.mean
    return mean_C


def _overlaps(rows: pd.DataFrame) -> list[Overlap]:
    rows = rows[rows["metric"].str.startswith("overlap").to_numpy(bool)]
    rows = rows.assign(first=measurements.option(rows, "a"), second=measurements.option(rows, "b"))
    overlaps = []
    for (first, second), group in rows.groupby(["first", "second"], sort=False):
        of = {row["metric"]: row for row in group.to_dict("records")}
        jaccard = of["overlap_jaccard"]
        overlaps.append(
            Overlap(
                first,
                second,
                common=of["overlap"]["value"],
                jaccard=Estimate(jaccard["value"], (jaccard["ci_low"], jaccard["ci_high"])),
                random=_jaccard(of["overlap_expected_layers"]["value"], jaccard["n"] + of["overlap"]["value"]),
                p=of["overlap_p_layers"]["value"],
            )
        )
    return overlaps


def _jaccard(common: float, sizes: float) -> float:
    """The Jaccard index of two sets, from what they have in common and the sum of their sizes."""
    return common / (sizes - common) if sizes > common else float("nan")


def _causes(rows: pd.DataFrame) -> list[Cause]:
    if rows.empty:
        return []
    options = pd.DataFrame([json.loads(text) for text in rows["options"]], index=rows.index)
    rows = pd.concat([rows.drop(columns="options"), options.reindex(columns=list({*options, "subset", "at"}))], axis=1)
    plain = rows["subset"].isna() | (rows["subset"] == "all") & (rows["at"] != "answers")
    rows = rows[(plain & rows["metric"].str.endswith("_change") & rows["random_mean"].notna()).to_numpy(bool)]
    causes = []
    for (neurons, kind, language, metric), group in rows.groupby(["set", "kind", "language", "metric"], sort=False):
        change, random, difference = mechanism.beside_random(group.sort_values("seed"))
        about = dict(neurons=neurons, size=float(group["size"].mean()), kind=kind, language=language)
        causes.append(Cause(**about, metric=metric, change=change, random=random, difference=difference))
    return causes


def _maps(place: _Place, at_C) -> dict[str, PairMap]:
    chosen = curves.evenly(len(at_C), MOST_AT)
    paths = [path for path, _ in place.stored.values()]
    maps = {}
    for language, texts in place.record.get("texts", {}).items():
        names = [f"{language}.{side}_{what}_LxN" for side in ("primary", "new") for what in ("log_prob", "rank")]
        arrays_C = [artefacts.load(paths[c], names=names)[0] for c in chosen]
        pairs = sorted(texts["pairs"], key=lambda pair: (-pair["prompts"], pair["pair"]))[:MOST_PAIRS]
        if not pairs or not all(name in arrays for name in names for arrays in arrays_C):
            continue
        pair_N = np.array(texts["pair_N"])
        share_C, covered_C = zip(*(_read_pairs(arrays, names, pairs, pair_N) for arrays in arrays_C), strict=True)
        maps[language] = PairMap(at_C[chosen].tolist(), pairs, np.stack(share_C), np.stack(covered_C))
    return maps


def _read_pairs(arrays: dict, names: list[str], pairs: list[dict], pair_N) -> tuple[np.ndarray, np.ndarray]:
    """[L, P] each: the primary's share, and how often one of the two names is the most probable token."""
    primary_LxN, primary_rank_LxN, new_LxN, new_rank_LxN = (arrays[name] for name in names)
    share_LxN = 1 / (1 + np.exp(-np.clip(primary_LxN.astype(float) - new_LxN, -700, 700)))
    covered_LxN = np.minimum(primary_rank_LxN, new_rank_LxN) == 0
    of_pair = [np.flatnonzero(pair_N == pair["pair"]) for pair in pairs]
    return tuple(
        np.stack([x_LxN[:, places].mean(axis=1) for places in of_pair], axis=1) for x_LxN in (share_LxN, covered_LxN)
    )


def _seed_overlap(folder) -> dict[tuple[str, str], tuple[float, float]]:
    """See `ProbeFindings.seed_overlap`: means over all two seeds."""
    if not (folder / "measurements").exists():
        return {}
    rows = measurements.read(folder)
    rows = rows.assign(set=measurements.option(rows, "set"))
    found = {}
    for (run, name), group in rows.groupby(["run", "set"], sort=False):
        last = group[(group["step"] == group["step"].max()).to_numpy(bool)]
        found[run, name] = tuple(
            float(select(last, metric=f"jaccard_seeds{which}")["value"].mean()) for which in ("", "_expected")
        )
    return found
