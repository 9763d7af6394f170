"""What is measured of a continual run besides its curves: do its transferring neurons matter, how do they come and go, and
what would each layer write at single prompts?

One walk over the checkpoints, each restored once. Rows go to `measurements/causes.parquet` and `measurements/drift.parquet`
of the run, what is not a table to `diagnostics/lens_grid.json`; `evolution/diagnostics.py` reads all of them back. Letters as
in `model/decoder.py`; C checkpoints, N slots, Q problems.
"""

import dataclasses
import functools
import json
from collections.abc import Sequence

import jax
import numpy as np

from babel_jax import files
from babel_jax.errors import UserError
from babel_jax.evaluation.generate import generate
from babel_jax.material import Material, Problems
from babel_jax.measuring import walk
from babel_jax.measuring.study import checkpoints
from babel_jax.model import placement
from babel_jax.model.decoder import unembed
from babel_jax.probes import causes, drift, forward, neurons
from babel_jax.probes.interventions import means
from babel_jax.training import hosts
from babel_jax.training.runs import Run

SHARE = 0.05  # of all neurons: as many of those with the highest correlation are ablated
# Checkpoint -> (kind of ablation, the sets that it is done to).
ABLATIONS = {
    "peak": (("mean", ("functional", "functional_shared", "lape_target")), ("zero", ("functional",))),
    "last": (("mean", ("functional", "functional_shared")),),
}
GRID_PROBLEMS = 6
GRID_TOP = 5  # most probable tokens at every layer and checkpoint
GRID_TOKENS = 12  # tokens that are followed through all layers and checkpoints


def measure(run: Run, base_LxNxF: np.ndarray | None, peak_step: int | None, names: Sequence[str] | None = None) -> None:
    """Measures a finished run whose problems are judged, unless that is done; what is written is written whole.

    Args:
      base_LxNxF: the base model's FFN activations at the primary's slots, aligned with the new language's (`functional`
        neurons are identified by them); None: only LAPE's neurons are measured.
      peak_step: the checkpoint with the highest accuracy; None: no neurons are ablated (a control has no peak).
      names: the text of each token [V]; None: the lens grid holds ids alone.

    Raises:
      UserError: `peak_step` is not a checkpoint of the run.
    """
    run_dir, material, model = run.directory, run.material, run.model
    paths = {part: run_dir / "measurements" / f"{part}.parquet" for part in ("causes", "drift")}
    grid_path = run_dir / "diagnostics" / "lens_grid.json"
    wanted = [paths["drift"], grid_path] + ([] if peak_step is None else [paths["causes"]])
    if hosts.agree(all(path.exists() for path in wanted)):
        return
    steps = walk.steps_of(run_dir)
    if peak_step is not None and peak_step not in steps:
        raise UserError(f"{run_dir} has no checkpoint {peak_step} to ablate neurons at; there are {steps}.")
    slots = grid_slots(model, material)
    rows = {"causes": [], "drift": []}
    sets_before, probability_C = None, []
    for checkpoint in checkpoints(run):
        params = walk.params_at(checkpoint, checkpoint.step)
        measured, probability_LxNxV = read(params, model, material, slots)
        probability_C.append(probability_LxNxV)
        sets = drifting_sets(measured, base_LxNxF, material)
        rows["drift"] += walk.completed(checkpoint, drift_rows(sets_before, sets, material.new))
        sets_before = sets
        for at in [] if peak_step is None else _places(checkpoint.step, peak_step, steps[-1]):
            found = cause_rows(params, model, material, measured, base_LxNxF, at)
            rows["causes"] += walk.completed(checkpoint, found)
    for part in rows if peak_step is not None else ("drift",):
        walk.write(paths[part], rows[part])
    if hosts.is_first():
        grid = lens_grid(steps, np.stack(probability_C), slots, material, names)
        files.write_atomic(grid_path, json.dumps(grid, separators=(",", ":"), allow_nan=False))


def _places(step: int, peak_step: int, last_step: int) -> list[str]:
    """Which of `ABLATIONS` a checkpoint is; a peak at the last step is the peak alone."""
    return ["peak"] if step == peak_step else ["last"] if step == last_step else []


def read(params, model, material: Material, slots: dict) -> tuple[dict, np.ndarray]:
    """One pass over a checkpoint.

    Returns:
      `forward.measure`'s counts and sums with `ffn_LxNxF` at the new language's own slots, and what the logit lens gives
      each token at `slots` (see `grid_slots`): probability_LxNxV.
    """
    own = material.slots[material.new]
    position_N = np.concatenate([own["position"], slots["position"]])
    asked = {
        "tokens": np.concatenate([own["tokens"], slots["tokens"]]),
        "position": position_N[:, None],
        "candidates": np.full((len(position_N), 1, 2), -1, np.int32),  # nothing is asked of the pass's own lens
    }
    batch_size = placement.batch_rows(params, material.max_length)
    params, _, everywhere = placement.on_devices(params, batch_size)
    measured = forward.measure(
        params, model, material.heldout, {material.new: asked}, material.document_end, batch_size, ("ffn", "residual")
    )
    at_slots, count = measured["slots"].pop(material.new), len(own["position"])
    residual_LxNxD = at_slots["residual_LxNxPxD"][:, count:, 0]
    probability_LxNxV = np.asarray(jitted_lens(model, everywhere)(params, residual_LxNxD))
    return measured | {"ffn_LxNxF": at_slots["ffn_LxNxPxF"][:, :count, 0]}, probability_LxNxV


@functools.cache
def jitted_lens(config, everywhere):
    """The jitted `(params, residual_LxNxD) -> probability_LxNxV` of the logit lens, made once per shape of the model."""
    return placement.jitted(lambda params, h: jax.nn.softmax(unembed(params, config, h)), everywhere)


# ---- Causes ---------------------------------------------------------------------------------------------------------------


def choosing_problems(count: int) -> np.ndarray:
    """The half [Q] of the problems at whose slots neurons are chosen; what their ablation does is measured on the others.

    Two and two: slots take a problem's first and second identifier in turn.
    """
    return np.arange(count) // 2 % 2 == 0


def ablated_sets(measured: dict, base_LxNxF: np.ndarray | None, material: Material) -> dict[str, np.ndarray]:
    """The sets of neurons that are ablated, masks [L, F]; empty ones are left out.

    functional: those whose activation on the new language's prompts correlates most with the base model's on the
      primary's, over slots whose knowledge only the primary has (the functional definition, by rank);
    functional_shared: as many by the same over slots whose knowledge the new language's own corpus has, too;
    lape_target: the new language's by LAPE.
    """
    slots, sets = material.slots[material.new], {"lape_target": _lape_target(measured, material)}
    if base_LxNxF is not None:
        choosing_N = choosing_problems(len(material.problems.length_Q))[slots["item"]]
        for name, subset in (("functional", 1), ("functional_shared", 0)):
            kept_N = choosing_N & (np.asarray(slots["subset"]) == subset)
            if kept_N.any():
                score_LxF = neurons.correlation(base_LxNxF[:, kept_N], measured["ffn_LxNxF"][:, kept_N])
                sets[name] = neurons.top_scores(score_LxF, round(SHARE * score_LxF.size))
    return {name: mask_LxF for name, mask_LxF in sets.items() if mask_LxF.any()}


def cause_rows(params, model, material: Material, measured: dict, base_LxNxF, at: str) -> list[dict]:
    """What becomes of the new language's problems when neurons are ablated, beside random sets (`problem_change_rows`).

    `at`: "peak" or "last", see `ABLATIONS`. Mean ablation puts in the mean over the new language's held-out tokens.
    """
    sets = ablated_sets(measured, base_LxNxF, material)
    mean_LxF = means(measured)[measured["languages"].index(material.new)]
    tested = some(material.problems, ~choosing_problems(len(material.problems.length_Q)))
    rows, at_once = [], placement.batch_rows(params, material.max_length)
    at_once *= -(-len(tested.length_Q) // at_once)  # all of them: they are short, and asked 21 times a set
    for kind, wanted in ABLATIONS[at]:
        chosen = {name: sets[name] for name in wanted if name in sets}
        if chosen:
            rows += causes.problem_change_rows(
                params,
                model,
                tested,
                material.new,
                chosen,
                kind,
                generate=generate,
                batch_size=at_once,
                **({"mean_LxF": mean_LxF} if kind == "mean" else {}),
            )
    return [row | {"options": row["options"] | {"checkpoint": at}} for row in rows]


def some(problems: Problems, kept_Q: np.ndarray) -> Problems:
    """Some of the problems, as problems of their own."""

    def judge(language: str, completion_QxA: np.ndarray) -> np.ndarray:
        all_QxA = np.zeros((len(kept_Q), completion_QxA.shape[1]), completion_QxA.dtype)
        all_QxA[kept_Q] = completion_QxA
        return problems.judge(language, all_QxA)[kept_Q]

    def chosen(value):
        return {name: rows[kept_Q] for name, rows in value.items()} if isinstance(value, dict) else value[kept_Q]

    fields = ("prompt_QxT", "length_Q", "answer_QxA", "transfer_Q", "word_slot_QxW", "transfer_word_QxW")
    return dataclasses.replace(problems, judge=judge, **{name: chosen(getattr(problems, name)) for name in fields})


# ---- Drift ----------------------------------------------------------------------------------------------------------------


def drifting_sets(measured: dict, base_LxNxF: np.ndarray | None, material: Material) -> dict[str, np.ndarray]:
    """The transferring neurons at a checkpoint by definition, masks [L, F], as `neurons.functional_rows` and
    `neurons.neuron_rows` count them."""
    sets = {"lape_target": _lape_target(measured, material)}
    transfer_N = np.asarray(material.slots[material.new]["subset"]) == 1
    if base_LxNxF is not None and transfer_N.any():
        now_LxNxF = measured["ffn_LxNxF"]
        sets["functional"] = neurons.functional(base_LxNxF[:, transfer_N], now_LxNxF[:, transfer_N])
    return sets


def _lape_target(measured: dict, material: Material) -> np.ndarray:
    ranking = neurons.lape(measured["active_RxLxFxK"].sum(axis=0), measured["tokens_RxK"].sum(axis=0))
    indices = (measured["languages"].index(name) for name in (material.primary, material.new))
    return neurons.transferring(ranking, *indices)["lape_target"]


def drift_rows(before: dict | None, now: dict, language: str) -> list[dict]:
    """Neurons born, dead and kept since the checkpoint before, and their number now: rows without run, seed and step.

    metrics: "size" and, from the second checkpoint on, "births", "deaths", "stays"; layer -1: of all layers. `options`:
    `set`, "definition:language" as in `probes/drift.py`. n: all neurons there are.

    Args:
      before, now: definition -> mask [L, F].
    """
    rows = []
    for definition, mask_LxF in now.items():
        counts = {"size": mask_LxF.sum(axis=1)}
        if before is not None:  # every layer as a set of its own
            counts |= drift.changes(before[definition][None, :, None], mask_LxF[None, :, None])
            del counts["switches"]  # of one language, nothing can
        for metric, count_L in counts.items():
            for layer, count in [(-1, count_L.sum()), *enumerate(count_L, start=1)]:
                rows.append(
                    dict(
                        probe="drift",
                        language=language,
                        layer=layer,
                        metric=metric,
                        value=float(count),
                        n=mask_LxF.size if layer < 0 else mask_LxF.shape[1],
                        options={"set": f"{definition}:{language}"},
                    )
                )
    return rows


# ---- The lens grid --------------------------------------------------------------------------------------------------------


def grid_slots(model, material: Material) -> dict[str, np.ndarray]:
    """All identifier places of a few problems, half of which need the primary's knowledge (all, where none does or all do).

    Problems whose identifiers differ between the languages come first: at others the languages cannot be distinguished.

    Returns:
      `tokens` [N, T], `position` [N] (predicts the identifier), `new_id`, `primary_id` [N] (the right one in either
      language), `problem` [N], `transfer` [N] (its word's meaning does not stand in the new language's corpus).
    """
    problems = material.problems
    rows, problem_N, transfer_N = causes.answer_rows(model, problems, material.new)
    primary_N = causes.answer_rows(model, problems, material.primary)[0]["right"][:, 0]
    told_apart_Q = np.ones(len(problems.length_Q), bool)
    told_apart_Q[problem_N[primary_N == rows["right"][:, 0]]] = False
    halves = [np.flatnonzero(problems.transfer_Q), np.flatnonzero(~problems.transfer_Q)]
    halves = [half for half in halves if len(half)]
    chosen = [half[np.argsort(~told_apart_Q[half], kind="stable")][: GRID_PROBLEMS // len(halves)] for half in halves]
    kept_N = np.isin(problem_N, np.concatenate(chosen))
    return {
        "tokens": rows["tokens"][kept_N],
        "position": rows["position"][kept_N],
        "new_id": rows["right"][kept_N, 0],
        "primary_id": primary_N[kept_N],
        "problem": problem_N[kept_N],
        "transfer": transfer_N[kept_N],
    }


def lens_grid(steps, probability_CxLxNxV, slots: dict, material: Material, names: Sequence[str] | None = None) -> dict:
    """What the page's explorer shows, as compact JSON; probabilities in thousandths.

    Returns:
      primary, new, steps [C], layers (their number); prompts: [{problem, transfer (it needs the primary's knowledge),
      tokens: the right program's ids in the new language}]; slots: [{problem, position (its token foretells the
      identifier), transfer (of its word), primary_id, new_id, top: ids [C][L][5], most probable first,
      top_probability, tokens: `default_tokens`, probability: [C][L][their number]}]; names: {id: text} of all of these,
      empty where no names are known.
    """
    found = []
    for n in range(len(slots["problem"])):
        probability_CxLxV = probability_CxLxNxV[:, :, n]
        top_CxLx5 = np.argsort(-probability_CxLxV, axis=-1, kind="stable")[..., :GRID_TOP]
        tokens = default_tokens(probability_CxLxV)
        found.append(
            {key: slots[key][n].item() for key in ("problem", "position", "transfer", "primary_id", "new_id")}
            | {
                "top": top_CxLx5.tolist(),
                "top_probability": _thousandths(np.take_along_axis(probability_CxLxV, top_CxLx5, axis=-1)),
                "tokens": tokens,
                "probability": _thousandths(probability_CxLxV[..., tokens]),
            }
        )
    problems, prompts = material.problems, []
    for q in np.unique(slots["problem"]).tolist():
        prompt_T = problems.prompt_QxT[material.new][q, : problems.length_Q[q]]
        ids = [*prompt_T.tolist(), *problems.answer_QxA[material.new][q].tolist()]
        prompts.append({"problem": q, "transfer": bool(problems.transfer_Q[q]), "tokens": ids})
    used = {token for prompt in prompts for token in prompt["tokens"]}
    for slot in found:
        used |= {slot["primary_id"], slot["new_id"], *slot["tokens"], *np.unique(slot["top"]).tolist()}
    return {
        "primary": material.primary,
        "new": material.new,
        "steps": [int(step) for step in steps],
        "layers": probability_CxLxNxV.shape[1],
        "prompts": prompts,
        "slots": found,
        "names": {} if names is None else {str(token): names[token] for token in sorted(used)},
    }


def default_tokens(probability_CxLxV) -> list[int]:
    """The tokens that rank first in any layer of any checkpoint, the most frequent ones first; at most `GRID_TOKENS`."""
    first, count = np.unique(probability_CxLxV.argmax(axis=-1), return_counts=True)
    return first[np.argsort(-count, kind="stable")][:GRID_TOKENS].tolist()


def _thousandths(probability) -> list:
    return np.rint(1000 * np.asarray(probability, np.float64)).astype(int).tolist()
