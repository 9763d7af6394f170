"""What a study measures at its runs' checkpoints: one Parquet file a checkpoint, and one of the last with parts of the peak."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.material import Material
from babel_jax.measuring import instruments, programs, walk
from babel_jax.measuring.fact_scores import fact_rows
from babel_jax.measuring.instruments import STUDY
from babel_jax.measuring.reading import Settings, subject_of
from babel_jax.model.sharding import make_mesh
from babel_jax.probes import forward
from babel_jax.probes.parts import restore
from babel_jax.probes.subject import Subject
from babel_jax.training import hosts
from babel_jax.training.runs import Run

# Parts of the parameters that a representation patch restores from another checkpoint, see `parts.restore`.
PATCHES = {"none": (), "embeddings": ("embed_", "head"), "blocks": ("blocks",), "ffn": ("blocks/ffn_",)}


def base_activations(run: Run) -> np.ndarray:
    """The values of the last checkpoint's neurons at the primary language's slots, [L, N, F]."""
    material, last = run.material, _last(run)
    subject = subject_of(walk.params_at(last, last.step), last.model, material)
    # All slots, not only those that are wanted: the same executable as at every checkpoint.
    return forward.measure(subject, {}, material.slots, ("ffn",)).slots[material.primary].ffn_LxNxF


def checkpoints(run: Run, steps=(), **how) -> Iterator[walk.Checkpoint]:
    """The checkpoints of a study's run, as its model is computed there and on its own mesh; see `walk.checkpoints`."""
    mesh = make_mesh(**run.config.mesh.to_dict())
    for checkpoint in walk.checkpoints(walk.OwnRun(run.directory), steps, **how):
        yield dataclasses.replace(checkpoint, model=run.model, mesh=mesh)


def _last(run: Run) -> walk.Checkpoint:
    """The last checkpoint of a finished run, not restored yet."""
    step = run.last_step()
    if last := next(checkpoints(run, (step,)), None):
        return last
    raise UserError(
        f"checkpoint {step} of {run.directory} is gone; put back a copy of it, or delete that folder and run the study again."
    )


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
    """Writes what is measured at a checkpoint to `measurements/step_*.parquet` of its run, unless it is there.

    Args:
      checkpoint: with its parameters.
      materials: one for each new language that is measured; what is about the primary alone is taken from the first.
      base_LxNxF: see `Settings`.
    """
    if hosts.agree(_is_measured(checkpoint.source.directory, checkpoint.step)):
        return
    rows = []
    for number, material in enumerate(materials):
        _, measured = instruments.measure(checkpoint, material, STUDY, Settings(base_LxNxF=base_LxNxF))
        if len(materials) > 1:
            measured = [row for row in measured if row["language"] != material.primary or (not number and _of_all(row))]
        rows += measured
    walk.write(_path(checkpoint.source.directory, checkpoint.step), walk.completed(checkpoint, rows))


def _of_all(row: dict) -> bool:
    """Whether a row about the primary is the same whatever the new language: it is not of a part of the problems."""
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
    material, last = run.material, _last(run)
    end, peak = walk.params_at(last, last.step), walk.params_at(last, from_step)
    rows = []
    for patched, prefixes in PATCHES.items():
        subject = subject_of(restore(end, peak, present(prefixes, end)), last.model, material)
        for row in _judged(subject, material):
            if row["metric"] == "word_accuracy":
                options = row["options"] | {"patched": patched, "from_step": from_step}
                rows.append(row | {"probe": "patch", "options": options})
    walk.write(path, walk.completed(last, rows))


def _judged(subject: Subject, material: Material) -> list[dict]:
    """What a model solves in the new language: programs, or else facts."""
    if material.problems:
        return programs.program_rows(subject, material.problems, material.new)
    return fact_rows(subject, {material.new: material.facts[material.new]})


def present(parts: tuple[str, ...], params: dict) -> list[str]:
    """The parts that `params` have: a head that is tied to the embeddings is restored with them."""
    return [part for part in parts if part != "head" or "head" in params]
