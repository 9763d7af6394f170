"""Orbax checkpoints of a run: the state, what it belongs to, and what was seen; asynchronous, finished or absent.

A checkpoint of step n holds the state after n updates. Directories that Orbax has not finished are never listed, so a
kill at any moment costs at most the work since the last one. On several hosts, saving and restoring is done by all.

Beside the state, in the same checkpoint, lie its metadata with a checksum of every array, and a hash of all that: whatever is
read is compared with them. Checkpoints of earlier versions have neither; they are read with a warning.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import shutil
import sys
import warnings

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from babel_jax.common import files
from babel_jax.common.errors import LONGEST_NAME, UserError, one_line, shortened
from babel_jax.common.limits import COUNTS
from babel_jax.model.decoder import DecoderConfig
from babel_jax.training import checksums

log = logging.getLogger(__name__)
ROOM_TO_SPARE = 2**20  # bytes for what Orbax writes beside the arrays
SAME_WEIGHTS = ("dtype", "remat", "attention")  # fields of a model that do not change what its parameters mean
METADATA = {  # the shape of a checkpoint's metadata file
    "model": files.shape_of(DecoderConfig),
    "step": COUNTS,
    "tokens": COUNTS,
    "tokens_by_language": {str: COUNTS},
    "started": float,
    "seconds?": {str: float},
    "rows_drawn?": {str: COUNTS},
    "version?": str,
}
SEAL = ("checksums", "hash")  # what `save` adds to the metadata


@dataclasses.dataclass(frozen=True)
class Seen:
    """How far a run is: the updates made, and the tokens that it saw, in all and by language."""

    step: int
    tokens: int
    tokens_by_language: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Metadata(Seen):
    """A run's metadata beside a checkpoint's state.

    Attributes:
      model: the `DecoderConfig` that the parameters are of, as JSON values.
      started: Unix time of the run's first step.
      seconds: by what they were spent on, see training/clock.py.
      rows_drawn: by source, counted one by one; None where a part of the run was trained by a version that did not count.
      version: of this package; None in checkpoints of earlier ones.
    """

    model: dict
    started: float
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    rows_drawn: dict[str, int] | None = None
    version: str | None = None

    def to_json(self) -> dict:
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_json(cls, stored: dict) -> "Metadata":
        """Keys that this version does not know are left out."""
        return cls(**{field.name: stored[field.name] for field in dataclasses.fields(cls) if field.name in stored})


@functools.cache
def _hush_orbax() -> None:
    """What Orbax logs as an error, it raises too, and we report it in one line."""
    for noisy in ("absl", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Reads that were under way when another one failed end after Orbax's event loop; TensorStore would print each.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    others = sys.unraisablehook

    def unraisable(error) -> None:
        if str(error.exc_value) != "Event loop is closed":
            others(error)

    sys.unraisablehook = unraisable


class Unreadable(UserError):
    """A checkpoint that cannot be read, or that is not what was saved; `reason` says why, in a few words."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class Checkpoints:
    """The checkpoints below `run/checkpoints`, all kept; or below another folder, the newest `keep` kept."""

    def __init__(self, run_dir, folder: str = "checkpoints", keep: int | None = None, create: bool = True):
        """`create`: whether the folder is made where there is none; else that is a `UserError`, and nothing is written."""
        _hush_orbax()
        self.directory = files.path(run_dir) / folder
        if not create and not self.directory.is_dir():
            raise UserError(f"{self.directory.parent} has no finished checkpoint; train the run first.")
        # What a kill left half written: in `checkpoints` it is written again at the same step, and others may read there.
        options = ocp.CheckpointManagerOptions(
            create=False, enable_async_checkpointing=True, max_to_keep=keep, cleanup_tmp_directories=keep is not None
        )
        self.damaged: set[int] = set()  # steps that could not be read
        with self._writing("folder"):
            self.directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """Steps of finished checkpoints, ascending."""
        self._manager.reload()
        return sorted(set(self._manager.all_steps()) - self.damaged)

    def save(self, state: dict, about: Metadata) -> None:
        """Starts an asynchronous save at `about.step`; an earlier one is waited for. A step that exists already stays.

        Raises:
          UserError: there is no room for it, or it cannot be written; earlier checkpoints are intact.
        """
        step = about.step
        with self._writing(step):
            self._manager.wait_until_finished()
            while self.damaged:  # only now: what was unreadable for want of a connection must not be lost
                self._manager.delete(self.damaged.pop())
            if step in self._manager.all_steps():
                return
            self._check_room(state)
            # In one item of the same checkpoint, which is finished as a whole: there is none whose checksums are still to come.
            metadata = about.to_json() | {"checksums": checksums.of_tree(state)}
            metadata |= {"hash": files.content_hash(metadata)}
            items = ocp.args.Composite(state=ocp.args.PyTreeSave(state), metadata=ocp.args.JsonSave(metadata))
            # Forced: when to save is decided by the loop alone (Orbax would ask the preemption service once more).
            self._manager.save(step, args=items, force=True)

    def _check_room(self, state: dict) -> None:
        if not files.is_local(self.directory):
            return
        needed = ROOM_TO_SPARE + sum(
            shard.data.nbytes
            for leaf in jax.tree.leaves(state)
            for shard in leaf.addressable_shards
            if not shard.replica_id
        )
        if (free := shutil.disk_usage(self.directory).free) < needed:
            raise OSError(f"it needs {needed / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB left")

    def wait(self) -> None:
        """Returns when every save is on disk; raises as `save`."""
        with self._writing("in progress"):
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self, step):
        try:
            yield
        except (OSError, ValueError) as error:  # TensorStore reports a full disk or a lost bucket as a ValueError
            raise UserError(
                f"cannot write checkpoint {step} to {self.directory}: {one_line(error)}; earlier checkpoints are "
                "intact: free space, or mend the permissions or the connection, and run the same command again."
            ) from error

    def close(self) -> None:
        """Waits for every save; raises as `save`."""
        with self._writing("in progress"):
            self._manager.close()

    def metadata(self, step: int) -> Metadata:
        """What `save` was given beside the state; read without touching the state.

        Raises:
          Unreadable: it is damaged, or is not that of this step.
        """
        return Metadata.from_json(self._sealed(step))

    def _sealed(self, step: int) -> dict:
        try:
            stored = json.loads((self.directory / str(step) / "metadata" / "metadata").read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise self._unreadable(step, one_line(error)) from error
        if fault := files.fault(stored, METADATA):
            raise self._unreadable(step, f"of its metadata, {fault}")
        if unknown := sorted(stored["model"].keys() - {field.name for field in dataclasses.fields(DecoderConfig)}):
            raise self._unreadable(step, f"its model has '{unknown[0]}', which this version does not know")
        rest = {name: value for name, value in stored.items() if name != "hash"}
        if not stored.keys().isdisjoint(SEAL) and stored.get("hash") != files.content_hash(rest):
            raise self._unreadable(step, "its metadata is not what was saved")
        if stored["step"] != step:
            raise self._unreadable(step, f"it is the one of step {stored['step']}")
        return stored

    def restore(self, step: int, abstract_state: dict, model: dict | None = None) -> dict:
        """The state (or the part of it that `abstract_state` names) at `step`, laid out as `abstract_state` says.

        Args:
          model: fields of the model that must have made it, but for those that do not change what its parameters mean.

        Raises:
          UserError: it is of another model; or, `Unreadable`, what is read is not what was saved, bit for bit.
        """
        return self.read(step, abstract_state, model)[0]

    def read(self, step: int, abstract_state: dict, model: dict | None = None) -> tuple[dict, Metadata]:
        """As `restore`; and its metadata."""
        error = None
        try:
            sealed = self._sealed(step)
            self._check_model(step, sealed["model"], model or {})
            args = ocp.args.PyTreeRestore(
                item=abstract_state,
                restore_args=ocp.checkpoint_utils.construct_restore_args(abstract_state),
                partial_restore=True,
            )
            state = self._manager.restore(step, args=ocp.args.Composite(state=args))["state"]
            there = jax.tree.map(lambda leaf: isinstance(leaf, jax.Array) and leaf.shape, state)
            if there != jax.tree.map(lambda leaf: leaf.shape, abstract_state):
                raise ValueError("arrays are missing, or of another shape")
        except Exception as caught:  # whatever Orbax or TensorStore raise on damaged files
            error = caught
        if not _everywhere(error is None):  # before all hosts compute together
            if isinstance(error, UserError):
                raise error
            raise self._unreadable(step, one_line(error) if error else "on another host") from error
        if "checksums" in sealed:
            self._compare(step, checksums.of_tree(state), sealed["checksums"])
        else:
            _warn_unchecked(self.directory.parent)
        return state, Metadata.from_json(sealed)

    def _compare(self, step: int, read: dict[str, str], saved: dict[str, str]) -> None:
        for name, checksum in read.items():
            if saved.get(name) != checksum:
                raise self._unreadable(step, f"{name} is not what was saved")

    def _unreadable(self, step: int, reason: str) -> Unreadable:
        return Unreadable(
            f"checkpoint {step} in {self.directory} cannot be read ({reason}); mend the connection or the permissions, or, "
            "where it is damaged, delete its folder to do without it.",
            reason,
        )

    def _check_model(self, step: int, stored: dict, model: dict) -> None:
        """Raises when the checkpoint was made by another model; says which field differs."""
        if not model:
            return
        for name, there, here in files.differences(_weights_of(stored), _weights_of(model)):
            there, here = (shortened(str(value), LONGEST_NAME) for value in (there, here))
            raise UserError(
                f"checkpoint {step} in {self.directory} is of another model: {name} is {there} there and {here} here; use the "
                "config it was trained with."
            )


def _weights_of(model: dict) -> dict:
    """What decides what a model's parameters mean, in full: a stored model leaves out what says nothing new."""
    fields = {name: value for name, value in model.items() if name not in SAME_WEIGHTS}
    return dataclasses.asdict(DecoderConfig.from_json(fields))


def restore_newest(stores: list[Checkpoints], abstract_state: dict, model: dict) -> tuple[dict, Metadata] | None:
    """The newest checkpoint of all `stores` that can be read: its state and metadata. None: there is none.

    Damaged ones are skipped with a warning, and replaced when their store saves again.

    Raises:
      UserError: there are checkpoints, but none can be read: nobody but the user may decide to start again.
    """
    reason = None
    saved = [(step, store) for store in stores for step in store.steps()]
    for step, store in sorted(saved, key=lambda pair: pair[0], reverse=True):
        try:
            return store.read(step, abstract_state, model)
        except Unreadable as error:
            reason = error.reason
        log.warning(
            "checkpoint %d in %s is damaged (%s); falling back to the one before.", step, store.directory, reason
        )
        store.damaged.add(step)
    if reason:
        raise UserError(
            f"none of the checkpoints in {stores[0].directory} can be read ({reason}); mend the connection or "
            "the permissions, or delete the folder to start from the beginning."
        )
    return None


@functools.cache
def _warn_unchecked(run_dir) -> None:
    """Once for a run."""
    log.warning(
        "the checkpoints of %s are of an earlier version: they have no checksums and are read unchecked.", run_dir
    )


def _everywhere(good: bool) -> bool:
    """True when it is true on all hosts: they must go on from the same checkpoint."""
    return good if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(good)).all())


def restore_params(run_dir, step: int, abstract_params: dict, model: dict) -> dict:
    """Parameters alone at one step of a run, on whatever mesh `abstract_params` names."""
    with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
        if step not in checkpoints.steps():
            raise UserError(f"no checkpoint {step} in {checkpoints.directory}; there are {checkpoints.steps()}.")
        return checkpoints.restore(step, {"params": abstract_params}, model)["params"]
