"""What a study would take: its runs in their order, with tokens, work and disk, before anything is trained or written."""

import collections
import dataclasses
from collections.abc import Iterator

import jax

from babel_jax.common import run_names
from babel_jax.common.run_names import SWARM, RunName
from babel_jax.measuring.series_plan import duration, speed
from babel_jax.model.chips import CHIPS
from babel_jax.model.flops import flops_per_token
from babel_jax.model.hub import amount
from babel_jax.model.sharding import make_mesh
from babel_jax.study import candidates
from babel_jax.study.aot import bytes_on_device
from babel_jax.study.plan import Study
from babel_jax.training.config import decoder_config, kept_steps
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import make_trainer

REFERENCES = ("NVIDIA H200", "TPU v5e")
HEAD = f"{'run':44s} {'runs':>5s} {'steps':>8s} {'tokens':>15s} {'kept':>5s} {'PFLOP':>12s}  starts from"


@dataclasses.dataclass(frozen=True)
class Planned:
    """What runs of one config take. runs: how many there are, over seeds. Of one: steps (at most, where a criterion may end
    it), tokens, the number of kept checkpoints, operations to train it, bytes on the disk, and the run that it starts from."""

    name: str
    runs: int
    steps: int
    tokens: int
    kept: int
    flops: float
    stored_bytes: int
    source: str = ""


def lines(study: Study) -> Iterator[str]:
    """What is printed in place of a study.

    Raises:
      UserError: its material is not there, unless the config says `vocab_size` and `context`.
    """
    runs = list(planned(study))
    yield HEAD
    for run in runs:
        yield (
            f"{run.name:44s} {run.runs:5d} {run.steps:8,d} {run.tokens:15,d} {run.kept:5d} {run.flops / 1e15:12,.3g}  "
            f"{run.source or 'its seed'}"
        )
    totals = ("tokens", "flops", "stored_bytes")
    tokens, flops, stored = (sum(getattr(run, each) * run.runs for run in runs) for each in totals)
    count = sum(run.runs for run in runs)
    yield f"{count} runs, {tokens:,} tokens, {flops:.2e} operations to train them; {amount(stored)} of checkpoints."
    here = f"{duration(flops / speed())} at the speed of this machine's matrix products"
    there = [f"{duration(flops / CHIPS[chip].peak_bf16_flops)} on one {chip} at its bf16 peak" for chip in REFERENCES]
    yield f"time: training takes about {', '.join([here, *there])}; the rest of training and measuring come on top of it."


def planned(study: Study) -> Iterator[Planned]:
    """The runs in their order; of the mixes that follow from measurements, as many as can be asked for."""
    config = study.config
    seeds_of = {seed: study.planned(seed) for seed in config.seeds}
    names = collections.Counter(_group(name) for names in seeds_of.values() for name in names)
    for name, runs in names.items():
        yield _planned(study, name, runs)
    if "mix" in config.runs:
        for candidate in filter(candidates.is_measured, config.candidates):
            yield _planned(study, run_names.mix(candidate), len(config.seeds))


def _group(name: RunName) -> RunName:
    """The random mixes of a swarm, of which every seed has others, are one line."""
    return run_names.mix(SWARM) if name.candidate.startswith(SWARM) else name


def _planned(study: Study, name: RunName, runs: int) -> Planned:
    settings, shapes = study.shapes_of(study.as_long(name))
    model = decoder_config(settings, shapes.vocab_size, shapes.max_length, shapes.frozen_rows)
    one = make_mesh(devices=jax.devices()[:1])
    state = make_trainer(model, static_settings(settings.optimizer), shapes.document_end, one, 1).abstract_state
    tokens, kept = settings.steps * settings.batch_size * shapes.max_length, len(kept_steps(settings))
    source = ", ".join(map(str, study.needs(name)))
    return Planned(
        str(name),
        runs,
        settings.steps,
        tokens,
        kept,
        flops_per_token(model) * tokens,
        kept * bytes_on_device(state),
        source,
    )
