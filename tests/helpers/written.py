"""A small model with a long context, ragged prompts, and what it writes."""

import numpy as np

from babel_jax.measuring.sampling import Sampling, write
from babel_jax.model import placement
from babel_jax.model.decoder import DecoderConfig
from babel_jax.probes.subject import Subject
from helpers import loud as loud_params

LONG = DecoderConfig(vocab_size=37, width=16, layers=2, heads=4, ffn_width=32, max_length=150, tied_head=False)
LENGTHS = (100, 3, 70, 1, 150, 140, 64, 20, 32, 33)  # around pieces and buckets; one leaves no room, one not enough


def ragged(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 37, length) for length in LENGTHS]


def written(params=None, prompts=None, new_tokens=40, config=LONG, **options):
    """What `write` returns, as lists."""
    params = loud_params(config, 0, 0.4) if params is None else params
    batch_size = options.pop("batch_size", None) or placement.batch_rows(params, 1)
    rest = {name: options.pop(name) for name in ("finished", "streams", "progress") if name in options}
    subject = Subject(params, config, options.pop("stop_id", -1), batch_size)
    found = write(subject, prompts or ragged(), Sampling(new_tokens, **options), **rest)
    assert all(ids.dtype == np.int32 for samples in found for ids in samples)
    return [[ids.tolist() for ids in samples] for samples in found]


SAMPLED = dict(samples=3, temperature=0.8, top_p=0.9, seed=5)
