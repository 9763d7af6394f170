"""What a study measures at its runs' checkpoints: one Parquet file a checkpoint, and one of the last with parts of the peak."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from babel_jax import statistics
from babel_jax.evaluation.generate import generate
from babel_jax.material import Material
from babel_jax.measuring import walk
from babel_jax.model import placement
from babel_jax.model.sharding import make_mesh
from babel_jax.probes import forward, lens, neurons
from babel_jax.probes.interventions import restore
from babel_jax.training import hosts
from babel_jax.training.runs import Run

# Parts of the parameters that a representation patch restores from another checkpoint, see `interventions.restore`.
PATCHES = {"none": (), "embeddings": ("embed_", "head"), "blocks": ("blocks",), "ffn": ("blocks/ffn_",)}


def accuracy_row(solved_Q: np.ndarray, **columns) -> dict:
    """The share of true values with its Wilson interval."""
    hits, n = int(solved_Q.sum()), len(solved_Q)
    low, high = (float(bound) for bound in statistics.wilson(hits / n, n))
    return dict(value=hits / n, n=n, ci_low=low, ci_high=high) | columns


def completions(params, model, material: Material, language: str) -> np.ndarray:
    """Greedy completions of all problems in one language, [Q, A]."""
    problems = material.problems
    return generate(
        params,
        model,
        problems.prompt_QxT[language],
        problems.length_Q,
        problems.new_tokens,
        placement.batch_rows(params, material.max_length),
    )


def problem_accuracy(params, model, material: Material, language: str) -> float:
    """Share of the problems whose greedy program is right."""
    return float(material.problems.judge(language, completions(params, model, material, language)).mean())


def program_rows(params, model, material: Material, language: str) -> list[dict]:
    """Solved problems and accuracies by subset, and the accuracy of single words that need the primary's knowledge."""
    problems = material.problems
    written_QxA = completions(params, model, material, language)
    solved_Q = problems.judge(language, written_QxA)
    rows = []
    for subset, chosen_Q in (("shared", ~problems.transfer_Q), ("transfer", problems.transfer_Q)):
        if not chosen_Q.any():
            continue  # the new language's corpus covers all that the problems need
        options = {"subset": subset}
        for item in np.flatnonzero(chosen_Q):
            rows.append(dict(metric="solved", item=int(item), value=float(solved_Q[item]), options=options))
        rows.append(accuracy_row(solved_Q[chosen_Q], metric="accuracy", options=options))
    rows.append(accuracy_row(solved_Q, metric="accuracy", options={"subset": "all"}))
    right_QxW = np.take_along_axis(written_QxA == problems.answer_QxA[language], problems.word_slot_QxW, axis=1)
    if problems.transfer_Q.any():
        right_N = right_QxW[problems.transfer_word_QxW]
        rows.append(accuracy_row(right_N, metric="word_accuracy", options={"subset": "transfer"}))
    return [dict(probe="evaluation", language=language) | row for row in rows]


def call_site_rows(measured: dict, material: Material, language: str) -> list[dict]:
    """Where no program can be judged: is the most probable token at a held-out call site the identifier that stands there?"""
    slots = material.slots[language]
    wanted_N = slots["primary_id" if language == material.primary else "new_id"]
    solved_N = measured["slots"][language]["argmax_LxN"][-1] == wanted_N
    options = {"subset": "all"}
    rows = [
        dict(metric="solved", item=item, value=float(solved), options=options) for item, solved in enumerate(solved_N)
    ]
    rows.append(accuracy_row(solved_N, metric="accuracy", options=options))
    return [dict(probe="evaluation", language=language) | row for row in rows]


def bits_per_byte_rows(measured: dict, material: Material) -> list[dict]:
    """Held-out loss in bits per byte of source text, per language; intervals over rows."""
    rows = []
    for language, heldout in material.heldout.items():
        if "bytes" in heldout:
            bytes_N = (heldout["bytes"] * heldout["loss"]).sum(1)
            bits_N = measured["rows"][language]["loss_sum"] / np.log(2)
            value, low, high = statistics.mean_with_interval(bits_N, bytes_N)
            rows.append(
                dict(
                    probe="evaluation",
                    language=language,
                    metric="bits_per_byte",
                    value=value,
                    n=int(bytes_N.sum()),
                    ci_low=low,
                    ci_high=high,
                )
            )
    return rows


def checkpoint_rows(params, model, material: Material, base_LxNxF: np.ndarray | None) -> list[dict]:
    """Everything that is measured at one checkpoint; rows without run, seed, step and tokens.

    `base_LxNxF`: the base model's FFN activations at the primary's slots, for the functional neurons; None: not measured.
    """
    activations = base_LxNxF is not None
    measured = forward.measure(
        params,
        model,
        material.heldout,
        material.slots,
        material.document_end,
        placement.batch_rows(params, material.max_length),
        ("ffn",) if activations else (),
    )
    rows = forward.loss_rows(measured) + bits_per_byte_rows(measured, material)
    for language in (material.primary, material.new):
        rows += lens.working_language(measured["slots"][language], material.slots[language], language)
        if material.problems:
            rows += program_rows(params, model, material, language)
        else:
            rows += call_site_rows(measured, material, language)
    rows += neurons.neuron_rows(measured, material.primary, material.new)
    if activations:
        now_LxNxF = measured["slots"][material.new]["ffn_LxNxF"]
        rows += neurons.functional_rows(base_LxNxF, now_LxNxF, material.slots[material.new], material.new)
    return rows


def base_activations(run: Run) -> np.ndarray:
    """The last checkpoint's FFN activations at the primary language's slots, [L, N, F]."""
    material, (last,) = run.material, checkpoints(run, (run.last_step(),))
    params = walk.params_at(last, last.step)
    # All slots, of which some are not wanted: the same executable as at every checkpoint.
    found = forward.measure(
        params,
        last.model,
        {},
        material.slots,
        material.document_end,
        placement.batch_rows(params, material.max_length),
        at_slots=("ffn",),
    )
    return found["slots"][material.primary]["ffn_LxNxF"]


def checkpoints(run: Run, steps=(), **how) -> Iterator[walk.Checkpoint]:
    """The checkpoints of a study's run, of its own model and on its own mesh; see `walk.checkpoints`."""
    mesh = make_mesh(**run.config.mesh.to_dict())
    return walk.checkpoints(run.directory, steps, model=run.model, mesh=mesh, **how)


def measure_run(
    run: Run, base_LxNxF: np.ndarray | None = None, progress: Callable[[dict], None] = lambda message: None
) -> None:
    """Measures every checkpoint of a run that is not measured yet, into its `measurements/step_*.parquet`."""
    skip = functools.partial(_is_measured, run.directory)
    for checkpoint in checkpoints(run, skip=skip, progress=progress):
        if here := walk.restored(checkpoint):
            measure_checkpoint(here, run.materials, base_LxNxF)
    hosts.barrier(f"measured {run.directory}")


def measure_checkpoint(
    checkpoint: walk.Checkpoint, materials: Sequence[Material], base_LxNxF: np.ndarray | None
) -> None:
    """Writes what is measured at a checkpoint to `measurements/step_*.parquet` of its run, unless that stands there.

    Args:
      checkpoint: with its parameters.
      materials: one for each new language that is measured; what is about the primary alone is taken from the first.
      base_LxNxF: see `checkpoint_rows`.
    """
    if hosts.agree(_is_measured(checkpoint.run_dir, checkpoint.step)):
        return
    rows = []
    for number, material in enumerate(materials):
        found = checkpoint_rows(checkpoint.params, checkpoint.model, material, base_LxNxF)
        if len(materials) > 1:
            found = [row for row in found if row["language"] != material.primary or (not number and _of_all(row))]
        rows += found
    walk.write(_path(checkpoint.run_dir, checkpoint.step), walk.completed(checkpoint, rows))


def _of_all(row: dict) -> bool:
    """Whether a row about the primary says the same whichever new language stands beside it: no part of the problems."""
    return row["metric"] == "solved" or row.get("options", {}).get("subset", "all") == "all"


def _is_measured(run_dir, step: int) -> bool:
    return _path(run_dir, step).exists()


def _path(run_dir, step: int):
    return run_dir / "measurements" / f"{walk.file_name(step)}.parquet"


def measure_patches(run: Run, from_step: int) -> None:
    """The last checkpoint with parts of its parameters restored from `from_step`: lost knowledge, or lost access to it?"""
    path = run.directory / "measurements" / "patches.parquet"
    if hosts.agree(path.exists()):
        return
    material, (last,) = run.material, checkpoints(run, (run.last_step(),))
    end, peak = walk.params_at(last, last.step), walk.params_at(last, from_step)
    rows = []
    for patched, prefixes in PATCHES.items():
        params = restore(end, peak, present(prefixes, end))
        for row in program_rows(params, last.model, material, material.new):
            if row["metric"] != "solved" and row["options"]["subset"] == "transfer":
                options = row["options"] | {"patched": patched, "from_step": from_step}
                rows.append(row | {"probe": "patch", "options": options})
    walk.write(path, walk.completed(last, rows))


def present(parts: tuple[str, ...], params: dict) -> list[str]:
    """The parts that `params` have: a head that is tied to the embeddings is restored with them."""
    return [part for part in parts if part != "head" or "head" in params]
