"""`convert`: a Hugging Face GPT-2 into a finished run, and a checkpoint into a Hugging Face folder."""

import contextlib
import os
import time

import jax
from jax.sharding import SingleDeviceSharding

import babel_jax
from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.model.decoder import DecoderConfig, init_params
from babel_jax.model.model_folders import read_model, write_model
from babel_jax.training.checkpoint import Checkpoints, Metadata, restore_params
from babel_jax.training.runs import locked


def import_run(hf_dir: str | os.PathLike, run_dir: str | os.PathLike) -> None:
    """Converts a Hugging Face GPT-2 into a finished run: its parameters are the run's only checkpoint, at step 0.

    Raises:
      UserError: as `read_model`; or `run_dir` is a run already.
    """
    run_dir = files.path(run_dir)
    _refuse_run(run_dir)
    config, params = read_model(hf_dir)
    about = Metadata(0, 0, {}, config.to_json(), time.time(), version=babel_jax.__version__)
    with _or_nothing(run_dir), locked(run_dir):
        _refuse_run(run_dir)  # another process may have begun one
        checkpoints = Checkpoints(run_dir)
        try:
            checkpoints.save({"params": params}, about)
        finally:
            checkpoints.close()
        files.write_json(run_dir / "config.json", {"config": {"imported": config.to_json()}, "material": None})
        files.write_json(run_dir / "DONE", {"step": 0, "tokens": 0, "tokens_by_language": {}, "seconds": {}})


def _refuse_run(run_dir) -> None:
    if any((run_dir / name).exists() for name in ("config.json", "checkpoints")):
        raise UserError(f"{run_dir} holds a run already, or a part of one; give a new folder, or delete that one.")


@contextlib.contextmanager
def _or_nothing(place):
    """What is made at `place`, in a folder that may be there already, is removed again where anything is raised."""
    there = set(place.iterdir()) if place.is_dir() else None
    above = [folder for folder in place.parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for entry in [place] if there is None else set(place.iterdir()) - there:
            files.remove_tree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
        for folder in above if files.is_local(place) else ():  # in a bucket they are not there by themselves
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def export_run(run_dir: str | os.PathLike, step: int, hf_dir: str | os.PathLike) -> None:
    """Writes the checkpoint of one step of a run as a Hugging Face folder.

    Raises:
      UserError: there is no such checkpoint, it cannot be read, or `hf_dir` holds a model already.
    """
    checkpoints = Checkpoints(run_dir, create=False)
    try:
        if step not in checkpoints.steps():
            raise UserError(f"no checkpoint {step} in {checkpoints.directory}; there are {checkpoints.steps()}.")
        model = checkpoints.metadata(step).model
    finally:
        checkpoints.close()
    # Parameters do not depend on how they were computed with; not every machine has that attention kernel.
    config = DecoderConfig.from_json(model | {"attention": "reference"})
    here = SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
        jax.eval_shape(lambda: init_params(config, 0)),
    )
    params = restore_params(run_dir, step, abstract, config.to_json())
    with _or_nothing(files.path(hf_dir)):
        write_model(hf_dir, config, params)
