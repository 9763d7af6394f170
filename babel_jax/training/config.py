"""The config of one run: every key with its range, default and meaning, and what several keys must have in common."""

import dataclasses

import jax
from ml_collections import ConfigDict

from babel_jax.common import schema
from babel_jax.common.errors import UserError
from babel_jax.common.schema import SEED, TOP, Choice, Flag, Key, Many, Number, Pattern, Place, Section, Table, Text
from babel_jax.corpus.mixture import STAGES
from babel_jax.model import attention
from babel_jax.model.decoder import DTYPES, PRESETS, REMAT_POLICIES, DecoderConfig
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.model.flops import block_parameters
from babel_jax.training.optimizer import DECAYED, DIRECTIONS, MOMENT_DTYPES, SCHEDULES
from babel_jax.training.trackers import check_wandb

BAD_STEPS = ("stop", "skip")
_STEPS = Number(low=0, whole=True)
_BELOW_ONE = Number(low=0, below=1)
_MOST_RATE = 1e30  # what float32 can hold, with room for a factor

OPTIMIZER = Section(
    {
        "name": Key(
            Choice("optimizer", tuple(DIRECTIONS)),
            "adamw",
            "Adam with decoupled weight decay; or Muon for the blocks' matrices and Adam for all else, at the same rate",
        ),
        "learning_rate": Key(Number(low=1e-20, high=_MOST_RATE), 1e-3, "the highest learning rate"),
        "warmup_steps": Key(_STEPS, 20, "first steps, in which the rate rises in a straight line"),
        "schedule": Key(
            Choice("schedule", SCHEDULES),
            "constant",
            "how the rate goes on: it stays, falls along a cosine, or stays and falls in the last steps (wsd)",
        ),
        "decay_steps": Key(_STEPS, 0, "the last steps, in which the rate falls (0: cosine falls over all)"),
        "final_learning_rate": Key(Number(low=0, high=_MOST_RATE), 0.0, "the rate at the last step, where it falls"),
        "b1": Key(_BELOW_ONE, 0.9, "decay of Adam's first moment"),
        "b2": Key(
            Number(low=0, high=1 - 1e-6), 0.98, "decay of Adam's second moment; nearer to 1 it would be 1 in float32"
        ),
        "momentum": Key(_BELOW_ONE, 0.95, "momentum of Muon"),
        "epsilon": Key(Number(low=1e-30, high=1e4), 1e-8, "added to the root of Adam's second moment"),
        "mu_dtype": Key(
            Choice("optimizer.mu_dtype", MOMENT_DTYPES),
            "float32",
            "dtype of the first moment; bfloat16 saves 2 bytes a parameter",
        ),
        "weight_decay": Key(Number(low=0, high=1e4), 0.1, "decoupled weight decay, times the learning rate"),
        "decayed": Key(Pattern(), DECAYED, "which parameters decay, by their paths"),
        "clip_norm": Key(Number(low=1e-20, high=1e30), 1.0, "the largest norm that all gradients together may have"),
        "label_smoothing": Key(
            _BELOW_ONE, 0.0, "the share of the uniform distribution in the target of the training loss"
        ),
        "multipliers": Key(
            Table(Number(low=0, high=1e6), Pattern()),
            {},
            "regular expression of parameters' paths -> factor on their learning rate",
        ),
    }
)
MODEL = Section(
    {
        "preset": Key(Choice("model preset", PRESETS), "tiny", "the decoder's shape (see model/decoder.py)"),
        "family": Key(
            Choice("model family", BY_TYPE),
            "gpt2",
            "what its blocks are made of (see model/families/README.md)",
        ),
        "kv_heads": Key(
            _STEPS, 0, "keys and values, each shared by as many queries (0: as the preset says, or one a query)"
        ),
        "tied_head": Key(Flag(), True, "whether the output embedding is the input embedding"),
        "dtype": Key(Choice("compute dtype", DTYPES), "float32", "dtype of the computation; parameters are float32"),
        "remat": Key(
            Choice("remat policy", ("auto", *REMAT_POLICIES)),
            "auto",
            "what the backward pass computes again instead of keeping it",
        ),
        "attention": Key(
            Choice("attention back end", ("auto", *attention.BACKENDS)),
            "auto",
            "the implementation of attention (see model/attention.py)",
        ),
    }
)
_AXIS = Number(low=1, whole=True, also=(-1,))
# Every key of a run's config; see configs/ for whole studies.
RUN = Section(
    {
        "seed": Key(SEED, 0, "the seed of the initial parameters and of the order of the rows; a study sets it"),
        "steps": Key(Number(low=1, whole=True), 1000, "optimiser steps"),
        "batch_size": Key(Number(low=1, high=2**20, whole=True), 64, "rows of a step, over all devices"),
        "accumulation": Key(
            Number(low=1, high=2**20, whole=True),
            1,
            "micro-batches of a step: the gradient of the whole batch with a part of its memory",
        ),
        "init_from": Key(
            Text(),
            "",
            "a finished run, beside this one, from whose last parameters it starts with a fresh optimiser",
        ),
        "stop_every": Key(
            _STEPS,
            0,
            "steps after which stop_accuracy is checked, again and again; the run ends where it is reached (0: never)",
        ),
        "stop_accuracy": Key(
            _BELOW_ONE, 0.0, "the share of problems solved in the primary beyond which stop_every ends the run"
        ),
        "checkpoint_steps": Key(
            Many(_STEPS, once=True), (), "steps whose checkpoints are kept and measured, besides the last"
        ),
        "checkpoint_every": Key(_STEPS, 0, "steps between further such checkpoints (0: none)"),
        "checkpoint_growth": Key(
            Number(low=1.001, high=1e6, also=(0,)),
            0.0,
            "g of further such checkpoints after 1, g, g^2, … steps, rounded (0: none)",
        ),
        "resume_every": Key(
            _STEPS, 0, "steps between checkpoints that only serve to resume; the newest is kept (0: none)"
        ),
        "resume_minutes": Key(Number(low=0), 10.0, "minutes between such checkpoints (0: none)"),
        "bad_step": Key(
            Choice("bad_step", BAD_STEPS),
            "stop",
            "what to do after a step whose loss or gradient is a spike or not finite; it changes nothing in either case",
        ),
        "spike_factor": Key(
            Number(low=0, high=1e30),
            0.0,
            "a loss so many running deviations above the running mean is a spike (0: never)",
        ),
        "model": Key(
            MODEL,
            {},
            "the decoder",
        ),
        "stages": Key(STAGES, ({"tokens": 0, "weights": {}},), "the mixture of sources, stage by stage"),
        "mixture": Key(Text(), "", "a file of `corpus mix` or `optimize` from which the stages are read instead"),
        "max_epochs": Key(
            Number(low=0),
            0.0,
            "how often a run may see a source; one that would see it more often is refused (0: no limit)",
        ),
        "online": Key(
            Section(
                {
                    "every": Key(
                        _STEPS, 0, "steps between two choices of the weights; `stages` gives the first ones (0: never)"
                    )
                }
            ),
            {},
            "weights of the sources that are chosen while the run trains",
        ),
        "optimizer": Key(OPTIMIZER, {}, "the optimiser and its schedule"),
        "mesh": Key(
            Section(
                {
                    "data": Key(
                        _AXIS, -1, "copies of the parameters, each with a part of the batch (-1: what is left)"
                    ),
                    "fsdp": Key(_AXIS, 1, "devices that share a copy, each with a part of the batch"),
                    "tensor": Key(_AXIS, 1, "devices that share each matrix product"),
                }
            ),
            {},
            "how many devices lie along each axis; one may be -1",
        ),
        "wandb_project": Key(
            Text(), "", "a Weights & Biases project that also gets the metrics; needs the package wandb"
        ),
    }
)


def default() -> ConfigDict:
    """A run's config. See configs/ for whole studies; every key is read."""
    return ConfigDict(RUN.complete({}))


def override(config: ConfigDict, changes, where: Place = TOP) -> ConfigDict:
    """A run's config with `changes` (nested mappings) applied.

    Raises:
      UserError: an unknown key or a value that it cannot have, in one line that names the key below `where`.
    """
    return ConfigDict(RUN.complete(schema.merged(config.to_dict(), RUN.check(changes, where))))


def validate(config: ConfigDict) -> None:
    """Raises a `UserError` where the values of several keys cannot work together."""
    check_wandb(config.wandb_project)
    if config.batch_size % config.accumulation:
        raise UserError(
            f"batch_size is {config.batch_size} and accumulation {config.accumulation}; a batch must be cut into equal parts."
        )
    if config.optimizer.schedule == "wsd" and config.optimizer.decay_steps < 1:
        raise UserError("optimizer.schedule 'wsd' needs decay_steps of at least 1: how many of the last steps decay.")
    if list(config.mesh.values()).count(-1) > 1:
        raise UserError(f"mesh is {config.mesh.to_dict()}; one axis at most may be -1.")
    if config.stop_every > config.steps:
        raise UserError(
            f"stop_every is {config.stop_every} and steps {config.steps}, so that nothing would ever be asked."
        )
    _validate_online(config)
    late = [step for step in config.checkpoint_steps if step > config.steps]
    if late:
        raise UserError(f"checkpoint_steps {late} lie outside the run's steps 0..{config.steps}.")


def _validate_online(config: ConfigDict) -> None:
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
    model, shape = config.model, PRESETS[config.model.preset]
    if model.kv_heads:
        shape = shape | {"kv_heads": model.kv_heads}
    head_width = shape.get("head_width") or shape["width"] // shape["heads"]
    decoder = DecoderConfig(
        **shape,
        vocab_size=vocab_size,
        max_length=max_length,
        frozen_rows=frozen_rows,
        tied_head=model.tied_head,
        dtype=model.dtype,
        architecture=BY_TYPE[model.family].scratch(shape["width"], head_width, shape["layers"]),
    )
    shapes = decoder.attention_shapes(platform or jax.default_backend())
    return dataclasses.replace(
        decoder,
        attention=attention.resolve(model.attention, shapes),
        remat=default_remat(decoder) if model.remat == "auto" else model.remat,
    )


def default_remat(decoder: DecoderConfig) -> str:
    """Tiny models keep all activations, most keep what matrix products made, which costs next to no time, the largest nothing."""
    parameters = block_parameters(decoder)
    if parameters < 1e6:
        return "none"
    return "dots" if parameters < 3e9 else "full"


def as_stored(config: ConfigDict) -> dict:
    """A run's config as its config.json holds it: keys that earlier versions did not have are left out where they say nothing
    new, so that their runs go on."""
    result = plain(config)
    result["model"] = {
        name: value
        for name, value in result["model"].items()
        if name not in ("family", "kv_heads") or value != MODEL.keys[name].default
    }
    return result


def plain(config) -> dict:
    """A config as plain JSON values."""
    if isinstance(config, ConfigDict):
        config = config.to_dict()
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [plain(value) for value in config]
    return config
