"""What probing a series would take: revisions, steps, tokens, bytes, disk and time, before anything large is fetched."""

import dataclasses
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.material import Material
from babel_jax.measuring import walk
from babel_jax.measuring.series import Published
from babel_jax.model import flops, hub
from babel_jax.model.decoder import DecoderConfig

CONNECTION = 125e6  # bytes a second of the connection that times are given for: 1 Gbit/s
SIDE = 1024  # of the matrices that are multiplied to see how fast this machine is
SECONDS = 0.3  # for which that is tried


def lines(sources: list[Published], texts: Callable, out, steps: tuple[int, ...]) -> Iterator[str]:
    """What is printed in place of probing the sources.

    Args:
      texts: source -> (the `Material` to measure with, …), see `probe_walk.probe`.
      steps: the chosen ones, as there.

    Raises:
      UserError: as the probing would, as far as it can be told before a model is fetched.
    """
    total, largest, work, count = 0, 0, 0.0, 0
    for source, place in walk.places_of(sources, out, "probe").items():
        chosen = walk.chosen_steps(source.steps(), steps, source, more_to_come=False)
        if not chosen:
            raise UserError(f"{source} has no finished checkpoint; {source.none_yet}.")
        size = source.bytes_of(chosen[0])
        todo = [step for step in chosen if not (place / f"{walk.file_name(step)}.npz").exists()]
        yield f"{source.group}/{source.name}: {source.repository}, {hub.amount(size)} a checkpoint"
        for step in chosen:
            tokens = source.series.tokens(source.name, step)
            done = "" if step in todo else ", measured already"
            yield f"  {source.revision_of(step)}: step {step}, {tokens:,} tokens{done}"
        material, _ = texts(source)
        total, largest, count = total + size * len(todo), max(largest, size), count + len(todo)
        work += len(todo) * forward_flops(source.model, material)
    kept = total if sources[0].keep else largest
    yield f"{count} checkpoints to measure: {hub.amount(total)} to fetch."
    yield f"disk: {hub.amount(kept)} and the results; {hub.amount(hub.room(sources[0].downloads)[1])} are free."
    yield (
        f"time: about {duration(total / CONNECTION)} to fetch them at 1 Gbit/s, about {duration(work / speed())} for their "
        "forward passes on this machine, side by side."
    )


def forward_flops(model: DecoderConfig, material: Material) -> float:
    """Operations of one pass over a material: its held-out rows and its prompts."""
    texts = [*material.heldout.values(), *material.slots.values()]
    tokens = sum(np.asarray(rows["tokens"]).size for rows in texts)
    return tokens * flops.flops_per_token(dataclasses.replace(model, max_length=material.max_length)) / 3


def speed() -> float:
    """Floating-point operations a second of all devices here, in matrix products of float32."""
    product = jax.jit(lambda a_MxM: a_MxM @ a_MxM)
    a_MxM = jnp.full((SIDE, SIDE), 1 / SIDE)
    product(a_MxM).block_until_ready()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < SECONDS:
        product(a_MxM).block_until_ready()
        count += 1
    return len(jax.devices()) * count * 2 * SIDE**3 / (time.perf_counter() - started)


def duration(seconds: float) -> str:
    """Seconds as one reads them: 40 s, 12 min, 3.5 h, 9 days."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:,.0f} days"
