"""What is measured of a continual run besides its curves: do its transferring neurons matter, how do they come and go, and
what would each layer write at single prompts?

One walk over the checkpoints, each restored once. Rows go to `measurements/causes.parquet` and `measurements/drift.parquet`
of the run, what is not a table to `diagnostics/lens_grid.json`; `evolution/mechanism.py` reads all of them back. Letters as
in `model/decoder.py`; C checkpoints, N slots, Q problems.
"""

import dataclasses
import functools
import json
from collections.abc import Sequence

import jax
import numpy as np

from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.common.material import Material
from babel_jax.measuring import walk
from babel_jax.measuring.lens_grid import grid_slots, lens_grid
from babel_jax.measuring.programs import pass_change_rows, subset_of
from babel_jax.measuring.reading import subject_of
from babel_jax.measuring.study_walk import checkpoints
from babel_jax.model.placement import jitted
from babel_jax.probes import drift, forward, functional, lape
from babel_jax.probes.by_counts import LAPE_TARGET
from babel_jax.probes.by_scores import top_scores
from babel_jax.probes.causes import Change
from babel_jax.probes.edits import means
from babel_jax.probes.subject import Subject
from babel_jax.training import hosts
from babel_jax.training.runs import Run

SHARE = 0.05  # of all neurons: as many of those with the highest correlation are ablated
# At the peak: (kind of ablation, the sets that it is done to).
ABLATIONS = (("mean", ("functional", "functional_shared", "lape_target")), ("zero", ("functional",)))


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """One pass over a checkpoint.

    Attributes:
      measured: counts and sums of the held-out rows.
      ffn_LxNxF: the neurons' values at the new language's own slots.
      probability_LxNxV: what the logit lens gives each token at the grid's slots.
    """

    measured: forward.Pass
    ffn_LxNxF: np.ndarray
    probability_LxNxV: np.ndarray


def measure(run: Run, base_LxNxF: np.ndarray | None, peak_step: int | None, names: Sequence[str] | None = None) -> None:
    """Measures a finished run whose problems are judged, unless that is done; what is written is written whole.

    Args:
      base_LxNxF: the values of the base model's neurons at the primary's slots, aligned with the new language's (`functional`
        neurons are identified by them); None: only LAPE's neurons are measured.
      peak_step: the checkpoint with the highest accuracy; None: no neurons are ablated (a control has no peak).
      names: the text of each token [V]; None: the lens grid holds ids alone.

    Raises:
      UserError: `peak_step` is not a checkpoint of the run.
    """
    run_dir, material = run.directory, run.material
    paths = {part: run_dir / "measurements" / f"{part}.parquet" for part in ("causes", "drift")}
    grid_path = run_dir / "diagnostics" / "lens_grid.json"
    wanted = [paths["drift"], grid_path] + ([] if peak_step is None else [paths["causes"]])
    if hosts.agree(all(path.exists() for path in wanted)):
        return
    steps = walk.steps_of(run_dir)
    if peak_step is not None and peak_step not in steps:
        raise UserError(f"{run_dir} has no checkpoint {peak_step} to ablate neurons at; there are {steps}.")
    slots = grid_slots(run.model, material)
    rows, sets_before, probability_C = [], None, []
    for checkpoint in checkpoints(run):
        subject = subject_of(walk.params_at(checkpoint, checkpoint.step), run.model, material)
        view = read(subject, material, slots)
        probability_C.append(view.probability_LxNxV)
        sets = drifting_sets(view, base_LxNxF, material)
        rows += walk.completed(checkpoint, drift.layer_rows(sets_before, sets, material.new))
        sets_before = sets
        if checkpoint.step == peak_step:
            causes = cause_rows(subject, material, view, base_LxNxF)
            walk.write(paths["causes"], walk.completed(checkpoint, causes))
    walk.write(paths["drift"], rows)
    if hosts.is_first():
        grid = lens_grid(steps, np.stack(probability_C), slots, material, names)
        files.write_atomic(grid_path, json.dumps(grid, separators=(",", ":"), allow_nan=False))


def read(subject: Subject, material: Material, slots: dict) -> View:
    """`slots`: the grid's."""
    own = material.slots[material.new]
    position_N = np.concatenate([own["position"], slots["position"]])
    asked = {
        "tokens": np.concatenate([own["tokens"], slots["tokens"]]),
        "position": position_N[:, None],
        "candidates": np.full((len(position_N), 1, 2), -1, np.int32),  # nothing is asked of the pass's own lens
    }
    measured = forward.measure(subject, material.heldout, {material.new: asked}, ("ffn", "residual"))
    at_slots, count = measured.slots[material.new], len(own["position"])
    params, _, everywhere = subject.placed()
    residual_LxNxD = at_slots["residual_LxNxPxD"][:, count:, 0]
    probability_LxNxV = np.asarray(jitted_lens(subject.model, everywhere)(params, residual_LxNxD))
    return View(measured, at_slots["ffn_LxNxPxF"][:, :count, 0], probability_LxNxV)


@functools.cache
def jitted_lens(model, everywhere):
    """The jitted `(params, residual_LxNxD) -> probability_LxNxV` of the logit lens, made once per shape of the model."""
    return jitted(lambda params, h: jax.nn.softmax(model.readout(params)(h)), everywhere)


# ---- Causes ---------------------------------------------------------------------------------------------------------------


def choosing_problems(count: int) -> np.ndarray:
    """The half [Q] of the problems at whose slots neurons are chosen; what their ablation does is measured on the others.

    Two and two: slots take a problem's first and second identifier in turn.
    """
    return np.arange(count) // 2 % 2 == 0


def ablated_sets(view: View, base_LxNxF: np.ndarray | None, material: Material) -> dict[str, np.ndarray]:
    """The sets of neurons that are ablated, masks [L, F]; empty ones are left out.

    functional: those whose value on the new language's prompts correlates most with the base model's on the
      primary's, over slots whose knowledge only the primary has (the functional definition, by rank);
    functional_shared: as many by the same over slots whose knowledge the new language's own corpus has, too;
    lape_target: the new language's by LAPE.
    """
    slots, sets = material.slots[material.new], {"lape_target": _lape_target(view, material)}
    if base_LxNxF is not None:
        choosing_N = choosing_problems(len(material.problems.length_Q))[slots["item"]]
        for name, subset in (("functional", 1), ("functional_shared", 0)):
            kept_N = choosing_N & (np.asarray(slots["subset"]) == subset)
            if kept_N.any():
                score_LxF = functional.correlation(base_LxNxF[:, kept_N], view.ffn_LxNxF[:, kept_N])
                sets[name] = top_scores(score_LxF, round(SHARE * score_LxF.size))
    return {name: mask_LxF for name, mask_LxF in sets.items() if mask_LxF.any()}


def cause_rows(subject: Subject, material: Material, view: View, base_LxNxF: np.ndarray | None) -> list[dict]:
    """What becomes of the new language's problems when neurons are ablated at the peak, beside random sets.

    Mean ablation puts in the mean over the new language's held-out tokens.
    """
    sets = ablated_sets(view, base_LxNxF, material)
    mean_LxF = means(view.measured)[view.measured.languages.index(material.new)]
    tested = subset_of(material.problems, ~choosing_problems(len(material.problems.length_Q)))
    at_once = subject.batch_size * -(-len(tested.length_Q) // subject.batch_size)
    subject = dataclasses.replace(subject, batch_size=at_once)  # all of them: they are short, and asked 21 times a set
    rows = []
    for kind, wanted in ABLATIONS:
        chosen = {name: sets[name] for name in wanted if name in sets}
        if chosen:
            change = Change(kind, {"mean_LxF": mean_LxF} if kind == "mean" else {})
            rows += pass_change_rows(subject, tested, material.new, chosen, change)
    return [row | {"options": row["options"] | {"checkpoint": "peak"}} for row in rows]


# ---- Drift ----------------------------------------------------------------------------------------------------------------


def drifting_sets(view: View, base_LxNxF: np.ndarray | None, material: Material) -> dict[str, np.ndarray]:
    """The transferring neurons at a checkpoint by definition, masks [L, F], as the curves of a study count them."""
    sets = {"lape_target": _lape_target(view, material)}
    transfer_N = np.asarray(material.slots[material.new]["subset"]) == 1
    if base_LxNxF is not None and transfer_N.any():
        sets["functional"] = functional.functional(base_LxNxF[:, transfer_N], view.ffn_LxNxF[:, transfer_N])
    return sets


def _lape_target(view: View, material: Material) -> np.ndarray:
    selection = lape.lape(*view.measured.whole())
    indices = (view.measured.languages.index(name) for name in (material.primary, material.new))
    return LAPE_TARGET.mask(selection, *indices)
