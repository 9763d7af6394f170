"""`convert`: models of Hugging Face's transformers into finished runs, and checkpoints into folders for others.

An imported run has no training state: a checkpoint for each model that was imported, in `tokenizer/` the files of the tokenizer
that came with the first one, and its keys in config.json. DONE names the last step.
"""

import contextlib
import os
import time

import jax

import babel_jax
from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.model import hub, maxtext, model_folders, placement, tokenizer_files
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.sharding import make_mesh
from babel_jax.model.tokenizer_files import TOKENS, TokenizerFiles
from babel_jax.training.checkpoint import Checkpoints, Metadata, restore_params
from babel_jax.training.runs import is_done, locked, read_done

TOKENIZER = "tokenizer"
NO_TOKENIZER = TokenizerFiles({}, {})
IMPORTED = {"config": {"imported": dict, "tokens?": dict}}  # of the config.json of an imported run


def import_run(place: str | os.PathLike, run_dir: str | os.PathLike, step: int = 0, tokens: int = 0) -> None:
    """Makes a finished run of a model, or adds a checkpoint to a run that was made so.

    One that was killed goes on where it is called again: config.json is written first, DONE last.

    Args:
      place: a folder, or a model of the hub, see `hub.folder`.
      step, tokens: of the model's training so far.

    Raises:
      UserError: as `hub.folder` and `model_folders.read_model`; the tokenizer is not the model's; or `run_dir` is another run,
        has a checkpoint of this step, or is of another model.
    """
    run_dir = files.path(run_dir)
    _check_free(run_dir, step)
    hf_dir = hub.folder(place)
    config, params = model_folders.read_model(hf_dir, mesh_of)
    tokenizer = _tokenizer_beside(hf_dir, config)
    with _or_nothing(run_dir), locked(run_dir):
        _check_free(run_dir, step)  # another process may have begun one
        if _imported(run_dir) is None:
            tokenizer_files.write(run_dir / TOKENIZER, tokenizer.contents)
            stored = {"imported": config.to_json(), "tokens": dict(tokenizer.tokens)}
            files.write_json(run_dir / "config.json", {"config": stored, "material": None})
        else:
            _check_same_model(run_dir, config, tokenizer)
            files.remove_tree(run_dir / "checkpoints" / str(step))  # of an import that was killed before DONE said so
        with contextlib.closing(Checkpoints(run_dir)) as checkpoints:
            there = checkpoints.steps()  # all checkpoints of a run say the same of when it began
            started = checkpoints.metadata(there[0]).started if there else time.time()
            about = Metadata(step, tokens, {}, config.to_json(), started, version=babel_jax.__version__)
            checkpoints.save({"params": params}, about)
        if not is_done(run_dir) or read_done(run_dir).step < step:
            done = {"step": step, "tokens": tokens, "tokens_by_language": {}, "seconds": {}}
            files.write_json(run_dir / "DONE", done)


def _tokenizer_beside(hf_dir, config: DecoderConfig) -> TokenizerFiles:
    """What lies beside a model of the tokenizer, which must not have more ids than the model has rows."""
    contents = tokenizer_files.read(hf_dir)
    tokenizer_files.check_belongs(contents, config.vocab_size, f"in {hf_dir}")
    hf_config = model_folders.read_config(hf_dir)
    return TokenizerFiles(contents, {name: hf_config[name] for name in TOKENS if name in hf_config})


def _check_free(run_dir, step: int) -> None:
    """Refuses a run that is not imported, and one that has a checkpoint of this step."""
    if not any((run_dir / name).exists() for name in ("config.json", "checkpoints")):
        return
    again = "give a new folder, or delete that one"
    if _imported(run_dir) is None:
        raise UserError(f"{run_dir} holds a run already, or a part of one; {again}.")
    if is_done(run_dir) and step <= read_done(run_dir).step:
        with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
            if step in checkpoints.steps():
                raise UserError(
                    f"{run_dir} holds a run already, with a checkpoint {step}; give another --step, or {again}."
                )


def _imported(run_dir) -> dict | None:
    """What config.json says of an imported run: its model and its tokenizer's keys. None: the run is not imported."""
    place = run_dir / "config.json"
    if not place.exists():
        return None
    stored = files.read_json(place, dict, "put back a copy of it")
    return stored["config"] if files.fault(stored, IMPORTED) is None else None


def _check_same_model(run_dir, config: DecoderConfig, tokenizer: TokenizerFiles) -> None:
    """All checkpoints of a run are of one model, whose tokens mean the same."""
    other = "import it into a run of its own"
    for name, old, new in files.differences(_imported(run_dir)["imported"], config.to_json()):
        raise UserError(f"{run_dir} is of another model: {name} is {old} there and {new} here; {other}.")
    kept = tokenizer_files.read(run_dir / TOKENIZER)
    name = tokenizer_files.JSON
    if name in kept and name in tokenizer.contents and kept[name] != tokenizer.contents[name]:
        raise UserError(f"{run_dir} has another {name} than this model; {other}.")


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


def kept_tokenizer(run_dir) -> TokenizerFiles | None:
    """The tokenizer that came with the model of an imported run. None: the run is not imported."""
    run_dir = files.path(run_dir)
    stored = _imported(run_dir)
    return stored and TokenizerFiles(tokenizer_files.read(run_dir / TOKENIZER), stored.get("tokens", {}))


def export_run(run_dir, step: int, hf_dir, tokenizer: TokenizerFiles | None = None) -> None:
    """Writes the checkpoint of one step of a run as a Hugging Face folder.

    Args:
      tokenizer: the run's; by default the one that came with an imported model.

    Raises:
      UserError: there is no such checkpoint, it cannot be read, or `hf_dir` holds a model already.
    """
    config, params = _checkpoint(run_dir, step)
    with _or_nothing(files.path(hf_dir)):
        model_folders.write_model(hf_dir, config, params, tokenizer or kept_tokenizer(run_dir))


def export_maxtext(run_dir, step: int, directory) -> None:
    """Writes the checkpoint of one step of a run as parameters of MaxText, see `model/maxtext.py`; raises as `export_run`."""
    config, params = _checkpoint(run_dir, step)
    with _or_nothing(files.path(directory)):
        maxtext.write(directory, config, params)


def _checkpoint(run_dir, step: int) -> tuple[DecoderConfig, dict]:
    """Config and parameters of a run at one step, spread over the devices here."""
    with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
        if step not in checkpoints.steps():
            raise UserError(f"no checkpoint {step} in {checkpoints.directory}; there are {checkpoints.steps()}.")
        model = checkpoints.metadata(step).model
    # Parameters do not depend on how they were computed with; not every machine has that attention kernel.
    config = DecoderConfig.from_json(model | {"attention": "reference"})
    abstract = placement.abstract_params(config, mesh_of(config))
    return config, restore_params(run_dir, step, abstract, config.to_json())


def mesh_of(config: DecoderConfig):
    """As many devices of this process as the model's matrices can be split over."""
    devices = jax.local_devices()
    for count in range(len(devices), 1, -1):
        mesh = make_mesh(data=1, fsdp=count, devices=devices[:count])
        with contextlib.suppress(UserError):
            placement.abstract_params(config, mesh)
            return mesh
    return make_mesh(devices=devices[:1])
