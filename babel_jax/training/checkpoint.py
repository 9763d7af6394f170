"""Orbax checkpoints of a run: the state, what it belongs to, and what was seen; asynchronous, finished or absent.

A checkpoint of step n holds the state after n updates. Directories that Orbax has not finished are never listed, so a
kill at any moment costs at most the work since the last one.
"""

import contextlib
import json
import logging
import shutil
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from babel_jax.files import UserError

log = logging.getLogger(__name__)
ROOM_TO_SPARE = 2**20  # bytes for what Orbax writes beside the arrays


class Checkpoints:
    """The checkpoints below `run/checkpoints`, all kept; or below another folder, the newest `keep` kept."""

    def __init__(self, run_dir, folder: str = "checkpoints", keep: int | None = None):
        self.directory = Path(run_dir).absolute() / folder
        options = ocp.CheckpointManagerOptions(create=False, enable_async_checkpointing=True, max_to_keep=keep)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def steps(self) -> list[int]:
        """Steps of finished checkpoints, ascending."""
        self._manager.reload()
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: dict, metadata: dict) -> None:
        """Starts an asynchronous save; an earlier one is waited for. Saving a step that exists already does nothing.

        Raises:
          UserError: there is no room for it, or it cannot be written; earlier checkpoints are intact.
        """
        if step in self._manager.all_steps():
            return
        with self._writing(step):
            self._manager.wait_until_finished()
            needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) + ROOM_TO_SPARE
            if (free := shutil.disk_usage(self.directory).free) < needed:
                raise OSError(f"it needs {needed / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB left")
            items = ocp.args.Composite(state=ocp.args.PyTreeSave(state), metadata=ocp.args.JsonSave(metadata))
            self._manager.save(step, args=items)

    def wait(self) -> None:
        """Returns when every save is on disk; raises as `save`."""
        with self._writing("in progress"):
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _writing(self, step):
        try:
            yield
        except (OSError, ValueError) as error:  # TensorStore reports a full disk as a ValueError
            raise UserError(
                f"cannot write checkpoint {step} to {self.directory}: {_first_line(error)}; earlier checkpoints are "
                "intact: free space and run the same command again."
            ) from error

    def close(self) -> None:
        self._manager.close()

    def metadata(self, step: int) -> dict:
        """What `save` was given beside the state; read without touching the state."""
        return json.loads((self.directory / str(step) / "metadata" / "metadata").read_text())

    def restore(self, step: int, abstract_state: dict) -> dict:
        """The state (or the part of it that `abstract_state` names) at `step`, laid out as `abstract_state` says."""
        args = ocp.args.PyTreeRestore(
            item=abstract_state,
            restore_args=ocp.checkpoint_utils.construct_restore_args(abstract_state),
            partial_restore=True,
        )
        return self._manager.restore(step, args=ocp.args.Composite(state=args))["state"]

    def check_model(self, step: int, model: dict) -> None:
        """Raises when the checkpoint was made by another model; says which field differs."""
        stored = self.metadata(step)["model"]
        for name, value in model.items():
            if stored.get(name) != value and name not in ("dtype", "remat"):
                raise UserError(
                    f"checkpoint {step} in {self.directory} is of another model: {name} is {stored.get(name)} there and "
                    f"{value} here; use the config it was trained with."
                )

    def restore_newest(self, abstract_state: dict, model: dict) -> tuple[int, dict] | None:
        """Newest step that can be read, and its state; broken ones are skipped with a warning. None: there is none."""
        for step in reversed(self.steps()):
            try:
                self.check_model(step, model)
                return step, self.restore(step, abstract_state)
            except UserError:
                raise
            except Exception as error:  # whatever Orbax or TensorStore raise on damaged files
                log.warning(
                    "checkpoint %d in %s is damaged (%s); falling back to the one before.",
                    step,
                    self.directory,
                    _first_line(error),
                )
                self._manager.delete(step)
        return None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]


def restore_params(run_dir, step: int, abstract_params: dict, model: dict) -> dict:
    """Parameters alone at one step of a run, on whatever mesh `abstract_params` names."""
    checkpoints = Checkpoints(run_dir)
    try:
        if step not in checkpoints.steps():
            raise UserError(f"no checkpoint {step} in {checkpoints.directory}; there are {checkpoints.steps()}.")
        checkpoints.check_model(step, model)
        return checkpoints.restore(step, {"params": abstract_params})["params"]
    finally:
        checkpoints.close()
