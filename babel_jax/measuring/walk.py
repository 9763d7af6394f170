"""The one walk over checkpoints: find runs, choose steps, restore parameters, write measurements.

A study measures its runs, `probe` and `evaluate` any run's checkpoints, `train --probe` those that it has just saved: each
gets a `Checkpoint` and writes its rows by `write`, whole, from the first host. Checkpoints already measured are skipped, a
run that still trains can be followed, and a checkpoint that is deleted meanwhile is left out.
"""

import contextlib
import dataclasses
import glob
import os
import time
from collections.abc import Callable, Iterator

import jax
from jax.sharding import Mesh

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError, printable
from babel_jax.model import attention, placement
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.sharding import make_mesh
from babel_jax.training import hosts, preemption
from babel_jax.training.checkpoint import Checkpoints, Metadata, Seen, restore_params
from babel_jax.training.runs import is_done, seed_of

POLL_SECONDS = 5
LAST = (-1,)  # a choice of steps: the last one


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One saved step of a run.

    Attributes:
      run_dir, seed: of the run; its name is that of its directory.
      model: the decoder that its parameters are of, computed as this machine can.
      seen: how far the run was; of a saved checkpoint all that it says of itself (`Metadata`).
      mesh: where `restored` puts the parameters; None: they are here.
      params: None until `restored`.
    """

    run_dir: object
    seed: int
    model: DecoderConfig
    seen: Seen
    mesh: Mesh | None = None
    params: dict | None = None

    @property
    def name(self) -> str:
        return self.run_dir.name

    @property
    def step(self) -> int:
        return self.seen.step

    @property
    def file_name(self) -> str:
        """What files about this checkpoint are called, without what says of which kind they are."""
        return file_name(self.step)


def file_name(step: int) -> str:
    return f"step_{step:08d}"


# --- runs and steps -----------------------------------------------------------------------------------------------------------


def run_directories(patterns) -> list:
    """The runs named by directories or globs (of runs, or of their `checkpoints` folders), in order, each once.

    Raises:
      UserError: a pattern matches no run.
    """
    run_dirs = {}
    for pattern in patterns:
        matches = (
            [pattern] if "://" in str(pattern) else sorted(map(os.path.abspath, glob.glob(os.path.expanduser(pattern))))
        )
        runs = [files.path(match) for match in matches]
        runs = [run.parent if run.name == "checkpoints" else run for run in runs]
        runs = [run for run in runs if (run / "checkpoints").exists()]
        if not runs:
            raise UserError(
                f"'{pattern}' matches no run with checkpoints; give run directories, such as 'W/seed*/continual'."
            )
        run_dirs |= dict.fromkeys(runs)
    return list(run_dirs)


def places_of(run_dirs, out, doing: str) -> dict:
    """{run directory: its folder below `out`}; `doing`: the verb of the error where two runs would share a folder."""
    places = {}
    for run_dir in run_dirs:
        place = files.path(out) / run_dir.parent.name / run_dir.name
        if place in places.values():
            raise UserError(f"two runs are called {place.parent.name}/{place.name}; {doing} them into two folders.")
        places[run_dir] = place
    return places


def steps_of(run_dir) -> list[int]:
    """Steps of a run's finished checkpoints, ascending."""
    with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
        return checkpoints.steps()


def chosen_steps(steps: list[int], chosen: tuple[int, ...], run_dir, more_to_come: bool) -> list[int]:
    """The chosen ones of a run's steps: () for all, `LAST`; none of them may be missing once all have come."""
    if chosen == LAST:
        return [] if more_to_come else steps[-1:]
    missing = sorted(set(chosen) - set(steps))
    if missing and not more_to_come:
        raise UserError(f"{run_dir} has no checkpoint {missing[0]}; there are {steps}.")
    return [step for step in steps if not chosen or step in chosen]


# --- one checkpoint -----------------------------------------------------------------------------------------------------------


def restored(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint with its parameters, on its mesh; None, with a message: it was deleted meanwhile.

    Raises:
      UserError: it cannot be read, or is of another model.
    """
    with _unless_deleted(checkpoint.run_dir, checkpoint.step):
        return dataclasses.replace(checkpoint, params=params_at(checkpoint, checkpoint.step))


def params_at(checkpoint: Checkpoint, step: int) -> dict:
    """The parameters of the same run at any step, laid out as `restored` does it."""
    abstract = placement.abstract_params(checkpoint.model, checkpoint.mesh)
    return restore_params(checkpoint.run_dir, step, abstract, checkpoint.model.to_json())


def stored_model(metadata: Metadata) -> DecoderConfig:
    """The decoder of a checkpoint, computed as this machine can: that does not change what its parameters mean."""
    model = DecoderConfig.from_json(metadata.model | {"attention": "reference", "remat": "none"})
    return dataclasses.replace(
        model, attention=attention.resolve("auto", model.attention_shapes(jax.default_backend()))
    )


def _opened(run_dir, step: int) -> Checkpoint | None:
    """A checkpoint that is not restored yet, to be split over all devices; None: it was deleted meanwhile."""
    with _unless_deleted(run_dir, step):
        with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
            metadata = checkpoints.metadata(step)
        return Checkpoint(run_dir, seed_of(run_dir), stored_model(metadata), metadata, make_mesh(data=1, fsdp=-1))


@contextlib.contextmanager
def _unless_deleted(run_dir, step: int):
    """Swallows the error of reading a checkpoint that no longer exists."""
    try:
        yield
    except (UserError, OSError):
        if step in steps_of(run_dir):
            raise
        print(f"checkpoint {step} of {printable(run_dir)} was deleted meanwhile; it is left out.")


# --- the walk -----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at a run: its checkpoints that were not there at the look before, not restored yet, and whether more will come."""

    checkpoints: Iterator[Checkpoint]
    coming: bool


def looks(
    run_dir,
    steps: tuple[int, ...] = (),
    *,
    follow: bool = False,
    needs: int | None = None,
    skip: Callable[[int], bool] = lambda step: False,
    progress: Callable[[dict], None] = lambda message: None,
) -> Iterator[Look]:
    """Looks at a run once, or (`follow`) until it is done. Take all of a look's checkpoints before the next look.

    Args:
      steps: which checkpoints; () for all, `LAST` for the last. They come in order.
      needs: a step that must have been saved before any of them is looked at.
      skip: whether nothing is left to do at a step; its checkpoint is then not opened. The first host decides.
      progress: called after each step with {"run", "checkpoint", "checkpoints"}.

    Raises:
      UserError: there is no checkpoint, or not a chosen one, or one that cannot be read.
    """
    seen: set[int] = set()

    def fresh(wanted: list[int]) -> Iterator[Checkpoint]:
        for step in wanted:
            if step not in seen:
                if not hosts.agree(skip(step)) and (checkpoint := _opened(run_dir, step)):
                    yield checkpoint
                seen.add(step)
                progress({"run": run_dir.name, "checkpoint": len(seen), "checkpoints": len(wanted)})

    while True:
        coming = follow and not is_done(run_dir)  # asked first: what is saved after that is seen by the next look
        there = steps_of(run_dir)
        if not there and not follow:
            raise UserError(f"{run_dir} has no finished checkpoint; train the run first.")
        wanted = chosen_steps(there, steps, run_dir, coming)
        yield Look(fresh([] if coming and needs is not None and needs not in there else wanted), coming)
        if not coming:
            return
        preemption.check()
        time.sleep(POLL_SECONDS)


def checkpoints(run_dir, steps: tuple[int, ...] = (), **how) -> Iterator[Checkpoint]:
    """The chosen checkpoints that a run has now; arguments as of `looks`."""
    for look in looks(run_dir, steps, **how):
        yield from look.checkpoints


# --- what was measured --------------------------------------------------------------------------------------------------------


def completed(checkpoint: Checkpoint, rows: list[dict]) -> list[dict]:
    """Rows of the table, from rows without run, seed, step and tokens."""
    common = dict(
        run=checkpoint.name,
        seed=checkpoint.seed,
        step=checkpoint.step,
        tokens=checkpoint.seen.tokens,
        tokens_by_language=checkpoint.seen.tokens_by_language,
    )
    return [measurements.row(**common, **row) for row in rows]


def write(path, rows: list[dict]) -> None:
    """Writes rows of the table, whole: all hosts have measured the same, and the first one writes it."""
    if hosts.is_first():
        measurements.write(path, measurements.table(rows))
