"""The config of one run: defaults, overrides with clear errors, validation in full sentences."""

import dataclasses
import re

import jax
from ml_collections import ConfigDict

from babel_jax.errors import UserError, unknown_name
from babel_jax.model import attention
from babel_jax.model.decoder import PRESETS, DecoderConfig
from babel_jax.training.optimizer import DECAYED, MOMENT_DTYPES, NAMES, SCHEDULES
from babel_jax.training.writers import check_wandb

BAD_STEPS = ("stop", "skip")


def default() -> ConfigDict:
    """A run's config. See configs/ for whole studies; every key is read."""
    return ConfigDict(
        dict(
            seed=0,
            steps=1000,
            batch_size=64,
            accumulation=1,  # micro-batches of a step: the gradient of the whole batch with a part of its memory
            # Finished run whose last parameters this one starts from, with a fresh optimiser; relative to its own directory.
            init_from="",
            # Train to a criterion instead of a fixed number of steps: checked every `stop_every` steps (0: never).
            stop_every=0,
            stop_accuracy=0.0,
            # Checkpoints that are kept and measured, besides the last: these, every so many steps (0: none), and after
            # 1, g, g^2, ... steps, rounded (0: none).
            checkpoint_steps=(),
            checkpoint_every=0,
            checkpoint_growth=0.0,
            # Checkpoints that only serve to resume, of which the newest is kept: steps and minutes between them (0: none).
            resume_every=0,
            resume_minutes=10.0,
            # A step whose loss or gradient is no finite number, or a spike, changes nothing; then "stop" or "skip" it.
            bad_step="stop",
            spike_factor=0.0,  # a loss that many running deviations above the running mean is a spike (0: never)
            model=dict(preset="tiny", tied_head=True, dtype="float32", remat="auto", attention="auto"),
            # Each {"tokens": how many (0: the rest), "weights": {source: weight}}.
            stages=({"tokens": 0, "weights": {}},),
            mixture="",  # file of `corpus mix` or `optimize` that the stages are read from
            max_epochs=0.0,  # a run that would see a source more often than that is refused (0: none is)
            # Weights that are chosen while the run trains, every so many steps (0: never); `stages` then gives the first ones.
            online=dict(every=0),
            optimizer=dict(
                name="adamw",  # or "muon": block matrices by Muon, all else by Adam, with the same learning rate
                learning_rate=1e-3,
                warmup_steps=20,
                schedule="constant",  # or "cosine", "wsd": see `learning_rate` in training/optimizer.py
                decay_steps=0,
                final_learning_rate=0.0,
                b1=0.9,
                b2=0.98,
                momentum=0.95,  # of Muon
                epsilon=1e-8,
                mu_dtype="float32",  # of the first moment; "bfloat16" saves 2 bytes a parameter
                weight_decay=0.1,
                decayed=DECAYED,  # regex of the leaf paths that decay
                clip_norm=1.0,
                label_smoothing=0.0,
                multipliers={},
                ema_decay=0.0,  # of an average of the parameters that is kept beside them (0: none)
            ),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            wandb_project="",  # Weights & Biases project that also gets the metrics; the package is then needed
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
    check_wandb(config.wandb_project)
    for key in ("steps", "batch_size", "accumulation"):
        if config[key] < 1:
            raise UserError(f"{key} is {config[key]}; a run needs at least 1.")
    if config.model.preset not in PRESETS:
        raise unknown_name("model preset", config.model.preset, PRESETS)
    _validate_optimizer(config.optimizer)
    if config.bad_step not in BAD_STEPS:
        raise unknown_name("bad_step", config.bad_step, BAD_STEPS)
    for key in ("checkpoint_every", "resume_every", "resume_minutes", "spike_factor", "max_epochs"):
        if config[key] < 0:
            raise UserError(f"{key} is {config[key]}; give 0 or more.")
    _validate_online(config)
    if config.checkpoint_growth and config.checkpoint_growth <= 1:
        raise UserError(f"checkpoint_growth is {config.checkpoint_growth}; checkpoints thin out only with more than 1.")
    late = [step for step in config.checkpoint_steps if not 0 <= step <= config.steps]
    if late:
        raise UserError(f"checkpoint_steps {late} lie outside the run's steps 0..{config.steps}.")


def _validate_online(config: ConfigDict) -> None:
    if config.online.every < 0:
        raise UserError(f"online.every is {config.online.every}; give 0 or more.")
    if not config.online.every:
        return
    if len(config.stages) != 1:
        raise UserError(
            f"`stages` has {len(config.stages)} stages; with online.every it gives the first weights alone, so give one stage."
        )
    for key in ("max_epochs", "stop_every"):
        if config[key]:
            raise UserError(
                f"{key} is {config[key]:g} and online.every {config.online.every}: nobody knows before such a run what it will "
                "see, or for how long it runs; set one of them to 0."
            )


def _validate_optimizer(optimizer: ConfigDict) -> None:
    for kind, name, known in (
        ("schedule", optimizer.schedule, SCHEDULES),
        ("optimizer", optimizer.name, NAMES),
        ("optimizer.mu_dtype", optimizer.mu_dtype, MOMENT_DTYPES),
    ):
        if name not in known:
            raise unknown_name(kind, name, known)
    if optimizer.schedule == "wsd" and optimizer.decay_steps < 1:
        raise UserError("optimizer.schedule 'wsd' needs decay_steps of at least 1: how many of the last steps decay.")
    for key in ("ema_decay", "momentum"):
        if not 0 <= optimizer[key] < 1:
            raise UserError(f"optimizer.{key} is {optimizer[key]}; it must be at least 0 and below 1.")
    for pattern in (optimizer.decayed, *optimizer.multipliers):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UserError(f"'{pattern}' in the optimizer section is no regular expression: {error}.") from error


def kept_steps(config: ConfigDict) -> frozenset[int]:
    """Steps whose checkpoints are kept for ever; where a criterion is asked, that is at each asking."""
    kept = {*config.checkpoint_steps, config.steps}
    for every in (config.checkpoint_every, config.stop_every):
        kept.update(range(every, config.steps + 1, every) if every else ())
    grown = 1.0
    while config.checkpoint_growth and round(grown) <= config.steps:
        kept.add(round(grown))
        grown *= config.checkpoint_growth
    return frozenset(kept)


def decoder_config(
    config: ConfigDict, vocab_size: int, max_length: int, frozen_rows: int, platform: str | None = None
) -> DecoderConfig:
    """The decoder of a run on a material with these sizes; attention is resolved for `platform` (default: this process's)."""
    model = config.model
    shape = PRESETS[model.preset]
    backend = attention.resolve(
        model.attention, platform or jax.default_backend(), shape["width"] // shape["heads"], max_length, model.dtype
    )
    return DecoderConfig(
        **shape,
        vocab_size=vocab_size,
        max_length=max_length,
        frozen_rows=frozen_rows,
        tied_head=model.tied_head,
        dtype=model.dtype,
        remat=default_remat(shape) if model.remat == "auto" else model.remat,
        attention=backend,
    )


def default_remat(shape: dict) -> str:
    """Tiny models keep all activations, most keep what matrix products made, which costs next to no time, the largest nothing."""
    block_parameters = shape["layers"] * shape["width"] * (4 * shape["width"] + 2 * shape["ffn_width"])
    if block_parameters < 1e6:
        return "none"
    return "dots" if block_parameters < 3e9 else "full"


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
