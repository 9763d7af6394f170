"""One run, from its config to DONE: a flat story that can be killed and resumed at any moment."""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

import babel_jax
from babel_jax.corpus.mixture import Mixture, stages_from_config
from babel_jax.files import UserError, read_json, write_atomic, write_json
from babel_jax.material import Material
from babel_jax.model.sharding import check_batch, make_mesh
from babel_jax.training.checkpoint import Checkpoints, restore_params
from babel_jax.training.config import decoder_config, plain, validate
from babel_jax.training.optimizer import learning_rate
from babel_jax.training.step import Trainer, make_trainer

LOG_EVERY = 16  # steps between rows of metrics.jsonl and messages to `progress`


def is_done(run_dir) -> bool:
    """True when the run has finished; DONE also holds its last step."""
    return (Path(run_dir) / "DONE").exists()


def last_step(run_dir) -> int:
    return read_json(Path(run_dir) / "DONE")["step"]


def check_same_config(run_dir: Path, config: dict) -> None:
    """A directory belongs to one config: raises and names the first key that differs."""
    path = run_dir / "config.json"
    if not path.exists():
        run_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, config)
        return
    difference = _first_difference(read_json(path), config)
    if difference:
        name, old, new = difference
        raise UserError(
            f"{run_dir} belongs to another config: {name} was {old} and is now {new}; use another workdir, or the old value."
        )


def _first_difference(old, new, where=""):
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            found = _first_difference(old.get(key), new.get(key), f"{where}.{key}" if where else key)
            if found:
                return found
        return None
    return None if old == new else (where, old, new)


@contextlib.contextmanager
def locked(directory: Path):
    """Holds the directory for this process alone; the lock goes with the process, however it ends."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that works in {directory}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def trainer_for(config: ConfigDict, material: Material) -> tuple[Trainer, object]:
    """The compiled functions of a run and its decoder config."""
    validate(config)
    model = decoder_config(config, material.vocab_size, material.max_length, material.frozen_rows)
    mesh = make_mesh(**config.mesh.to_dict())
    check_batch(mesh, config.batch_size)
    optimizer = config.optimizer.to_dict()
    for hyperparameter in (
        "learning_rate",
        "warmup_steps",
        "schedule",
        "decay_steps",
        "final_learning_rate",
        "label_smoothing",
    ):
        del optimizer[hyperparameter]  # these are data: they do not make another executable
    return make_trainer(model, FrozenConfigDict(optimizer), material.document_end, mesh), model


def train(
    config: ConfigDict,
    material: Material,
    run_dir,
    *,
    progress: Callable[[dict], None] = lambda message: None,
    stop_when: Callable[[dict], bool] | None = None,
) -> None:
    """Trains one run in `run_dir` until its steps, or its criterion, are reached; returns at once when DONE stands there.

    Args:
      config: see training/config.py.
      material: what it trains on.
      progress: called every `LOG_EVERY` steps with {"step", "steps", "loss", "tokens_per_second"}.
      stop_when: `params -> bool`, asked every `config.stop_every` steps.
    """
    run_dir = Path(run_dir)
    with locked(run_dir):
        if is_done(run_dir):
            return
        check_same_config(run_dir, {"config": plain(config), "material": material.fingerprint})
        # Closed also after an error: what is being saved then is saved.
        with (
            contextlib.closing(Checkpoints(run_dir)) as checkpoints,
            contextlib.closing(Checkpoints(run_dir, "resume", keep=1)) as resume,
        ):
            _train(config, material, run_dir, checkpoints, resume, progress, stop_when)
        shutil.rmtree(run_dir / "resume")


def _train(config, material, run_dir, checkpoints, resume, progress, stop_when):
    trainer, model = trainer_for(config, material)
    row_tokens = material.max_length
    mixture = Mixture(material.sources, stages_from_config(config.stages, row_tokens), config.seed)
    metrics_path = run_dir / "metrics.jsonl"

    # Where the run starts: 1. its newest readable checkpoint, 2. the last parameters of `init_from`, 3. its seed.
    for store in sorted((checkpoints, resume), key=lambda store: max(store.steps(), default=-1), reverse=True):
        if restored := store.restore_newest(trainer.abstract_state, plain(model)):
            break
    if restored:
        start, state = restored
    elif config.init_from:
        start = 0
        source = run_dir / config.init_from
        params = restore_params(source, last_step(source), trainer.abstract_state["params"], plain(model))
        state = trainer.fresh(params)
    else:
        start, state = 0, trainer.init(config.seed)
    records = _records_until(metrics_path, start)
    window_start, window_step, pending = time.perf_counter(), start, None

    def read_pending():
        """Waits for the last step's metrics; logs them where they are due."""
        nonlocal window_start, window_step, pending
        if pending is None:
            return
        (step, metrics), pending = pending, None
        record = {"step": step} | {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not np.isfinite(list(record.values())).all():
            raise UserError(
                f"the loss of {run_dir} is {record['loss']} at step {step} (gradient norm {record['grad_norm']}); its "
                "checkpoints are intact: lower the learning rate or check the data, and start a new workdir."
            )
        if step % LOG_EVERY:
            return
        records.append(record)
        tokens = (step - window_step) * config.batch_size * row_tokens
        seconds = time.perf_counter() - window_start
        window_start, window_step = time.perf_counter(), step
        progress({"step": step, "steps": config.steps, "loss": record["loss"], "tokens_per_second": tokens / seconds})

    def save(step, store=checkpoints):
        read_pending()  # a state that is no number never becomes a checkpoint
        # The metrics first: a checkpoint that exists has its metrics, and a resumed run writes the same file again.
        write_atomic(metrics_path, "".join(json.dumps(record) + "\n" for record in records))
        store.save(
            step,
            state,
            {
                "model": plain(model),
                "step": step,
                **tokens_seen(mixture, material, config, step),
                "version": babel_jax.__version__,
            },
        )

    loss_weight_V = trainer.put(material.loss_weight_V)
    step = start
    while True:
        asked = config.stop_every and step % config.stop_every == 0 and step
        if asked or step in config.checkpoint_steps:
            save(step)
        elif config.resume_every and step % config.resume_every == 0 and step:
            save(step, resume)
        if asked and stop_when(state["params"]):
            break
        if step == config.steps:
            if config.stop_every:
                raise UserError(
                    f"{run_dir} did not reach accuracy {config.stop_accuracy} within {config.steps} steps; raise `steps`, or "
                    "look at its metrics.jsonl."
                )
            break
        tokens_BxT1 = mixture.rows(np.arange(step * config.batch_size, (step + 1) * config.batch_size))
        hyper = {
            "learning_rate": np.float32(learning_rate(config.optimizer, step, config.steps)),
            "label_smoothing": np.float32(config.optimizer.label_smoothing),
        }
        with jax.transfer_guard("disallow"):
            state, metrics = trainer.step(state, trainer.put_batch(tokens_BxT1), loss_weight_V, trainer.put(hyper))
        if step % LOG_EVERY == 0:  # metrics of step n-1 are read while step n runs
            read_pending()
        step += 1
        pending = (step, metrics)
    save(step)
    checkpoints.wait()
    executables = trainer.step._cache_size()
    if executables > 1:
        raise RuntimeError(
            f"the train step was compiled {executables} times; one state leaf or batch changes its placement."
        )
    write_json(run_dir / "DONE", {"step": step, **tokens_seen(mixture, material, config, step)})


def tokens_seen(mixture: Mixture, material: Material, config, step: int) -> dict:
    """{"tokens", "tokens_by_language"} of the run after `step` updates."""
    by_language: dict[str, int] = {}
    for name, rows in mixture.rows_seen(step * config.batch_size).items():
        language = material.source_language[name]
        by_language[language] = by_language.get(language, 0) + rows * material.max_length
    return {"tokens": sum(by_language.values()), "tokens_by_language": by_language}


def _records_until(path: Path, step: int) -> list[dict]:
    """Rows of metrics.jsonl up to `step`; later ones belong to work that will be done again."""
    if not path.exists():
        return []
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if record["step"] <= step]


def parent_is_gone(parent: int) -> bool:
    """True when the process that started this one has died (workers stop instead of training on, unseen)."""
    return os.getppid() != parent
