"""All that was measured over the checkpoints of continual pre-training in one new language: curves and stages."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from babel_jax.common import measurements, statistics
from babel_jax.evolution import knowledge, stages
from babel_jax.evolution.curve import Change, Curve, curve
from babel_jax.evolution.knowledge import KnowledgeCurve
from babel_jax.evolution.selection import Solved, select, solved
from babel_jax.evolution.stages import Stages

RUNS = ("continual", "control")
CONTROL = ("primary_share_others", "concept_share")  # of other pairs' identifiers, and the right ones' minus it
LENS = ("primary_share_prob", "primary_share_pair", "primary_share_argmax", "argmax_coverage", *CONTROL)
DEFINITIONS = ("lape_target", "pair_shared", "functional")


@dataclasses.dataclass(frozen=True)
class Cut(Change):
    """The change from peak to end of the neurons that LAPE counts, with the share of neurons that it selects."""

    top_rate: float


@dataclasses.dataclass(frozen=True)
class Curves:
    """All curves of continual pre-training in one new language; what was not measured is absent, or None.

    Attributes:
      primary, new: the two languages.
      seeds: of any run.
      problems: of each seed; None where none was judged.
      peak_step: of the best checkpoint of the continual run (`stages.peak`); None where no problem was judged.
      continual, control: the stages of the two runs.
      chance: the part of the problems that is solved without having learned anything.
      above_chance: whether the continual run surely solves more at its best checkpoint; None where no problem was judged.
      stages_by_seed: {seed: its steps by stage, or None where no transition is seen}.
      accuracy: {(run, language, subset): curve}; word_accuracy: of the words that need the primary.
      loss: {(run, language, metric): curve}.
      lens: {(run, metric): one curve a layer, None where there is none}; lens_subset: the slots that they are of.
      working_language: {run: the primary's share in the lens of the intermediate layers}; beside_others: of other pairs'
        identifiers at the same prompts; concept_share: the difference. {} of studies that did not read other pairs.
      language_shares: {(run, language): its share among more than two languages, in the intermediate layers}.
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
    chance: float
    above_chance: bool | None
    stages_by_seed: dict[int, dict | None]
    accuracy: dict[tuple[str, str, str], Curve]
    word_accuracy: Curve | None
    loss: dict[tuple[str, str, str], Curve]
    lens_subset: str
    lens: dict[tuple[str, str], list[Curve | None]]
    working_language: dict[str, Curve]
    beside_others: dict[str, Curve]
    concept_share: dict[str, Curve]
    language_shares: dict[tuple[str, str], Curve]
    neurons: dict[tuple[str, str], Curve]
    sensitivity: list[Cut]
    knowledge: dict[str, KnowledgeCurve]
    unlearned: list[str]
    patches: dict[str, Curve]

    @property
    def stages(self) -> dict | None:
        """The steps of the continual run's stages by name; None where no transition is seen."""
        return self.continual and self.continual.stages

    @property
    def languages_read(self) -> list[str]:
        """Those of `language_shares`."""
        return sorted({language for _, language in self.language_shares})

    @functools.cached_property
    def measured_shares(self) -> dict[str, Curve]:
        """The primary system's share as it was measured over the continual run: {name: curve in [0, 1]}."""
        return _known({name: share_of(self) for name, share_of in MEASURED_SHARES.items()})


def _functional_share(curves: Curves) -> Curve | None:
    """Of the functional transferring neurons at step 0, where the model is the primary's alone, those that are left."""
    count = curves.neurons.get(("continual", "functional"))
    return count and count.relative_to_first()


def _working_language_share(curves: Curves) -> Curve | None:
    """Of the concept share at step 0, where the model is the primary's alone, the part that is left; where other pairs were not
    read, the primary's share itself.

    None where the concept share does not surely lie above 0 at step 0: there is then nothing of which a part could be left.
    """
    concept = curves.concept_share.get("continual")
    if concept is None:
        return curves.working_language.get("continual")
    return concept.relative_to_first() if concept.first().ci[0] > 0 else None


MEASURED_SHARES = {  # name -> what takes it from the curves
    "knowledge_share": lambda curves: curves.knowledge.get("continual"),
    "working_language": _working_language_share,
    "functional_neurons": _functional_share,
}


def curves(frame: pd.DataFrame, primary: str, new: str) -> Curves:
    """All curves of one new language from the rows about it (see `rows.view`)."""
    frame = frame.astype({name: "category" for name in ("run", "probe", "language", "metric", "options")})
    light = frame[frame["metric"] != "solved"]
    judged = {run: solved(frame, run, new) for run in RUNS}
    continual = judged["continual"]
    peak_step = continual and int(continual.steps[stages.peak(continual.solved)])
    chance = chance_of(frame, new)
    lens, neurons = select(light, probe="lens", language=new), select(light, probe="neurons", layer=-1)
    lens_subset, of_layers = _lens(lens)
    return Curves(
        primary=primary,
        new=new,
        seeds=sorted(frame["seed"].unique().tolist()),
        problems=continual and [solved_CxQ.shape[1] for solved_CxQ in continual.solved],
        peak_step=peak_step,
        **{run: of and stages.find(of.steps, of.solved, of.chance) for run, of in judged.items()},
        chance=chance,
        above_chance=continual and _above(continual, chance),
        stages_by_seed=_stages_by_seed(continual),
        accuracy=_accuracy(light, primary, new),
        word_accuracy=curve(
            light, {"subset": "transfer"}, probe="evaluation", run="continual", language=new, metric="word_accuracy"
        ),
        loss=_losses(light, primary, new),
        lens_subset=lens_subset,
        lens=of_layers,
        working_language=_intermediate(of_layers, "primary_share_pair"),
        beside_others=_intermediate(of_layers, "primary_share_others"),
        concept_share=_intermediate(of_layers, "concept_share"),
        language_shares=_language_shares(lens, lens_subset),
        neurons=_known(
            {
                (run, definition): curve(neurons, run=run, language=new, metric=definition)
                for run in RUNS
                for definition in DEFINITIONS
            }
        ),
        sensitivity=_sensitivity(neurons, new, peak_step),
        knowledge=_known({run: knowledge.knowledge_curve(frame, run, primary, new) for run in RUNS}),
        unlearned=knowledge.unlearned(frame, primary, new),
        patches=_patches(light, new),
    )


def chance_of(frame: pd.DataFrame, language: str) -> float:
    """The part of a language's problems that is solved without having learned anything, as its rows say; or stages.CHANCE."""
    rows = select(frame, probe="evaluation", language=language, metric="chance")
    return stages.CHANCE if rows.empty else float(rows["value"].max())


def _above(judged: Solved, chance: float) -> bool:
    best = stages.peak(judged.solved)
    return stages.learned([solved_CxQ[best] for solved_CxQ in judged.solved], chance)


def _known(table: dict) -> dict:
    return {key: value for key, value in table.items() if value is not None}


def _stages_by_seed(judged: Solved | None) -> dict[int, dict | None]:
    if judged is None:
        return {}
    stages_of = {
        seed: stages.find(judged.steps, [solved_CxQ], judged.chance)
        for seed, solved_CxQ in zip(judged.seeds, judged.solved, strict=True)
    }
    return {seed: one and one.stages for seed, one in stages_of.items()}


def _accuracy(light: pd.DataFrame, primary: str, new: str) -> dict[tuple, Curve]:
    return _known(
        {
            (run, language, subset): curve(
                light, {"subset": subset}, probe="evaluation", run=run, language=language, metric="accuracy"
            )
            for run in (*RUNS, "primary_only", "new_only")
            for language in (primary, new)
            for subset in ("all", "shared", "transfer")
        }
    )


def _losses(light: pd.DataFrame, primary: str, new: str) -> dict[tuple, Curve]:
    return _known(
        {
            (run, language, metric): curve(light, run=run, language=language, metric=metric, layer=-1)
            for run in RUNS
            for language in (primary, new)
            for metric in ("loss", "loss_knowledge", "bits_per_byte")
        }
    )


def _lens(lens: pd.DataFrame) -> tuple[str, dict[tuple, list[Curve | None]]]:
    """(subset of the slots, {(run, metric): one curve a layer}), on the slots that the shared words have, or else on all."""
    subsets = set(measurements.option(lens, "subset", "all"))
    subset = "shared" if "shared" in subsets else "all"
    return subset, {
        (run, metric): [
            curve(lens, {"subset": subset}, run=run, metric=metric, layer=layer)
            for layer in sorted(lens["layer"].unique())
        ]
        for run in RUNS
        for metric in LENS
        if not select(lens, run=run, metric=metric).empty
    }


def _intermediate(of_layers: dict, metric: str) -> dict[str, Curve]:
    return _known({run: working_language(of_layers.get((run, metric), [])) for run in RUNS})


def _language_shares(lens: pd.DataFrame, subset: str) -> dict[tuple[str, str], Curve]:
    rows = select(lens, {"subset": subset}, metric="language_share_prob")
    languages = sorted(set(measurements.option(rows, "identifier"))) if len(rows) else []
    layers = sorted(rows["layer"].unique())
    return _known(
        {
            (run, language): working_language(
                [
                    curve(rows, {"identifier": language}, run=run, metric="language_share_prob", layer=layer)
                    for layer in layers
                ]
            )
            for run in RUNS
            for language in languages
        }
    )


def _patches(light: pd.DataFrame, new: str) -> dict[str, Curve]:
    return _known(
        {
            part: curve(
                light, {"subset": "transfer", "patched": part}, probe="patch", language=new, metric="word_accuracy"
            )
            for part in ("none", "embeddings", "ffn", "blocks")
        }
    )


def _sensitivity(neurons: pd.DataFrame, new: str, peak_step: int | None) -> list[Cut]:
    rows = select(neurons, run="continual", language=new, metric="lape_target_sensitivity")
    if peak_step is None or rows.empty:
        return []
    rates = sorted(set(measurements.option(rows, "top_rate")))
    changes = {rate: curve(rows, {"top_rate": rate}).change(peak_step) for rate in rates}
    return [Cut(**vars(change), top_rate=float(rate)) for rate, change in changes.items() if change is not None]


def working_language(lens: list[Curve | None]) -> Curve | None:
    """The curve of the mean over the intermediate layers: all but the last, whose lens is the output itself."""
    inner = [layer for layer in lens[:-1] if layer is not None] or [layer for layer in lens if layer is not None]
    if not inner:
        return None
    value_SxC, low, high = (
        np.mean([getattr(layer, name) for layer in inner], axis=0) for name in ("value_SxC", "low", "high")
    )
    mean, *interval = statistics.student(value_SxC)
    if len(inner[0].seeds) > 1:  # of one seed the layers share their slots: averaging bounds does not narrow them
        low, high = interval
    if inner[0].unit:
        low, high = np.clip(low, 0, 1), np.clip(high, 0, 1)
    return dataclasses.replace(inner[0], value_SxC=value_SxC, mean=mean, low=low, high=high)
