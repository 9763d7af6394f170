"""The config of one run: defaults, overrides with clear errors, validation in full sentences."""

import dataclasses

from ml_collections import ConfigDict

from babel_jax.files import UserError, unknown_name
from babel_jax.model.decoder import PRESETS, DecoderConfig
from babel_jax.training.optimizer import SCHEDULES


def default() -> ConfigDict:
    """A run's config. See configs/ for whole studies; every key is read."""
    return ConfigDict(
        dict(
            seed=0,
            steps=1000,
            batch_size=64,
            # Finished run whose last parameters this one starts from, with a fresh optimiser; relative to its own directory.
            init_from="",
            # Train to a criterion instead of a fixed number of steps: checked every `stop_every` steps (0: never).
            stop_every=0,
            stop_accuracy=0.0,
            checkpoint_steps=(),  # besides the last; all are kept and measured
            resume_every=0,  # steps between checkpoints that only serve to resume, of which the newest is kept (0: none)
            model=dict(preset="tiny", tied_head=True, dtype="float32", remat="none"),
            # Each {"tokens": how many (0: the rest), "weights": {source: weight}}.
            stages=({"tokens": 0, "weights": {}},),
            optimizer=dict(
                learning_rate=1e-3,
                warmup_steps=20,
                schedule="constant",
                decay_steps=0,
                final_learning_rate=0.0,
                b1=0.9,
                b2=0.98,
                epsilon=1e-8,
                weight_decay=0.1,
                clip_norm=1.0,
                label_smoothing=0.0,
                multipliers={},
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
        )
    )


def override(config: ConfigDict, changes, where: str = "") -> ConfigDict:
    """`config` with `changes` (nested mappings) applied. An unknown key is an error that names the nearest known one.

    A section that is empty in `config` is free in its keys.
    """
    result = config.copy_and_resolve_references()
    for key, value in changes.items():
        if key not in result:
            raise unknown_name("config key", f"{where}{key}", [f"{where}{known}" for known in result])
        if isinstance(result[key], ConfigDict) and len(result[key]):
            result[key] = override(result[key], value, f"{where}{key}.")
        else:
            try:
                with result.unlocked():
                    result[key] = value
            except TypeError as error:
                raise UserError(f"config key '{where}{key}' has the wrong type: {error}.") from error
    return result


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` where numbers cannot work together."""
    if config.steps < 1:
        raise UserError(f"steps is {config.steps}; a run needs at least 1.")
    if config.model.preset not in PRESETS:
        raise unknown_name("model preset", config.model.preset, PRESETS)
    if config.optimizer.schedule not in SCHEDULES:
        raise unknown_name("schedule", config.optimizer.schedule, SCHEDULES)
    late = [step for step in config.checkpoint_steps if not 0 <= step <= config.steps]
    if late:
        raise UserError(f"checkpoint_steps {late} lie outside the run's steps 0..{config.steps}.")


def decoder_config(config: ConfigDict, vocab_size: int, max_length: int, frozen_rows: int) -> DecoderConfig:
    """The decoder of a run on a material with these sizes."""
    model = config.model
    return DecoderConfig(
        **PRESETS[model.preset],
        vocab_size=vocab_size,
        max_length=max_length,
        frozen_rows=frozen_rows,
        tied_head=model.tied_head,
        dtype=model.dtype,
        remat=model.remat,
    )


def plain(config) -> dict:
    """A config as plain JSON values."""
    if dataclasses.is_dataclass(config):
        config = dataclasses.asdict(config)
    if isinstance(config, ConfigDict):
        config = config.to_dict()
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return config
