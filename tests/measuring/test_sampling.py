import collections
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import loud as loud_params
from helpers import python
from helpers.decoders import small
from helpers.written import LENGTHS, LONG, SAMPLED, ragged, written

from babel_jax.common.errors import UserError
from babel_jax.measuring import sampling
from babel_jax.measuring.sampling import CHUNK, Sampling, bucket, choose, write
from babel_jax.model.decoder import Decoder
from babel_jax.model.families.catalogue import BY_TYPE
from babel_jax.probes.subject import Subject


@pytest.mark.parametrize("change", [{}, {"tied_head": True, "frozen_rows": 5}])
def test_greedy_is_the_argmax_of_a_full_forward_at_every_position(change):
    config = dataclasses.replace(LONG, **change)
    params = loud_params(config, 0, 0.4)
    forward = jax.jit(lambda tokens: Decoder(config).apply({"params": params}, tokens)[0])
    prompts = ragged()
    found = written(params, prompts, config=config, batch_size=3)
    assert [len(samples[0]) for samples in found] == [min(40, 150 - length) for length in LENGTHS]
    for prompt, (ids,) in zip(prompts, found, strict=True):
        row = np.concatenate([prompt, ids]).astype(np.int32)
        logits = np.asarray(forward(np.pad(row, (0, 150 - len(row)))[None])[0])
        assert ids == logits.argmax(-1)[len(prompt) - 1 : len(row) - 1].tolist()
    assert len({tuple(ids[:20]) for (ids,) in found}) > 6


@pytest.mark.long
@pytest.mark.parametrize("family", BY_TYPE)
def test_of_every_family_greedy_is_the_argmax_of_a_full_forward(family):
    """Prompts that are read in one piece and in two, writing beyond every window."""
    config = small(family, max_length=60)
    params, rng = loud_params(config, 0, 0.4), np.random.default_rng(0)
    prompts = [rng.integers(0, 48, length) for length in (40, 3, 33, 1)]
    forward = jax.jit(lambda tokens: Decoder(config).apply({"params": params}, tokens)[0])
    found = written(params, prompts, 24, config, batch_size=2)
    for prompt, (ids,) in zip(prompts, found, strict=True):
        row = np.concatenate([prompt, ids]).astype(np.int32)
        logits = np.asarray(forward(np.pad(row, (0, 60 - len(row)))[None])[0])
        assert ids == logits.argmax(-1)[len(prompt) - 1 : len(row) - 1].tolist() and len(ids) >= 20
    assert len({tuple(ids[:20]) for (ids,) in found}) > 1


@pytest.mark.parametrize("options", [{}, SAMPLED])
def test_batch_order_and_company_change_nothing(options):
    params, prompts = loud_params(LONG, 0, 0.4), ragged()
    first = written(params, prompts, batch_size=16, **options)
    assert first == written(params, prompts, batch_size=3, **options)
    order = np.random.default_rng(0).permutation(len(prompts))
    turned = written(params, [prompts[i] for i in order], batch_size=3, streams=order, **options)
    assert turned == [first[i] for i in order]
    assert [first[2]] == written(params, [prompts[2]], streams=[2], **options)  # alone: another batch, other buckets


def test_every_sample_has_its_own_randomness():
    prompts = [np.array([1, 2, 3])] * 4
    found = written(prompts=prompts, **SAMPLED)
    assert len({tuple(ids) for samples in found for ids in samples}) == 12
    assert found != written(prompts=prompts, **SAMPLED | {"seed": 6})
    assert found == written(prompts=prompts, **SAMPLED)
    assert [samples[:2] for samples in found] == written(prompts=prompts, **SAMPLED | {"samples": 2})


def test_tokens_are_drawn_with_the_probabilities_of_the_model():
    """First tokens of many samples of one prompt against the nucleus of a full forward, by a chi-square test."""
    params, prompt, samples = loud_params(LONG, 0, 0.2), np.arange(5), 4000
    found = written(params, [prompt], 1, samples=samples, temperature=0.7, top_p=0.8, batch_size=256)
    logits_V = np.asarray(Decoder(LONG).apply({"params": params}, prompt[None])[0][0, -1], np.float64)
    weight_V = np.exp(logits_V / 0.7)
    expected_V = nucleus(weight_V / weight_V.sum(), 0.8) * samples
    count_V = np.bincount([ids[0] for ids in found[0]], minlength=37)
    kept_V = expected_V > 0
    assert count_V[~kept_V].sum() == 0 and 4 <= kept_V.sum() <= 33
    freedom = kept_V.sum() - 1
    chi_square = (np.square(count_V - expected_V)[kept_V] / expected_V[kept_V]).sum()
    assert chi_square < freedom + 4 * np.sqrt(2 * freedom)


def nucleus(probability_V, top_p):
    """Slowly and in float64: probabilities of the least set of most probable tokens whose mass is top_p or more."""
    kept_V = np.zeros(len(probability_V), bool)
    mass = 0.0
    for token in np.argsort(-probability_V, kind="stable"):
        kept_V[token] = True
        mass += probability_V[token]
        if mass >= top_p:
            break
    kept_V |= probability_V == probability_V[kept_V].min()
    return np.where(kept_V, probability_V, 0) / probability_V[kept_V].sum()


def drawn(logits_BxV, temperature, top_p, draws=300):
    """Which tokens were drawn at all, bool [B, V]."""
    one = jax.jit(lambda key_B: choose(jnp.asarray(logits_BxV, jnp.float32), key_B, temperature, top_p))
    seen_BxV = np.zeros(np.shape(logits_BxV), bool)
    for draw in range(draws):
        seen_BxV[np.arange(len(logits_BxV)), one(jax.random.split(jax.random.key(draw), len(logits_BxV)))] = True
    return seen_BxV


@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.5, 0.9, 0.999])
def test_the_nucleus_is_that_of_a_sorted_list(top_p):
    logits_BxV = np.random.default_rng(0).normal(0, 3, (64, 500))
    probability_BxV = np.asarray(jax.nn.softmax(logits_BxV.astype(np.float32), axis=-1))
    least_B = sampling.least_of_nucleus(jnp.asarray(probability_BxV), top_p)
    compared = 0
    for probability_V, least in zip(probability_BxV, np.asarray(least_B), strict=True):
        mass_V = np.cumsum(-np.sort(-probability_V.astype(np.float64)))
        if np.abs(mass_V - top_p).min() > 1e-6:  # else the sums of float32 may fall on either side
            compared += 1
            assert ((probability_V >= least) == (nucleus(probability_V.astype(np.float64), top_p) > 0)).all()
    assert compared >= 48


def test_odd_nuclei():
    even = np.zeros((1, 8))
    assert drawn(even, 1.0, 0.5).sum() == 8  # all are as probable as the last one
    assert drawn(even, 1.0, 1.0).sum() == 8
    peaked = np.array([[0.0, 50.0, 49.0, -1e30]])
    assert drawn(peaked, 1.0, 1e-9).tolist() == [[False, True, False, False]]  # one at least
    assert drawn(peaked, 1e-30, 0.9).tolist() == [[False, True, False, False]]  # no temperature is too low
    assert drawn(peaked, 1.0, 0.999999).tolist() == [[False, True, True, False]]
    assert drawn(peaked, 100.0, 1.0).tolist() == [[True, True, True, False]]


def test_a_completion_ends_before_the_stop():
    free = written()
    stop = collections.Counter(token for (ids,) in free for token in ids).most_common(1)[0][0]
    stopped = written(stop_id=stop, batch_size=4)
    ends = [ids.index(stop) if stop in ids else len(ids) for (ids,) in free]
    assert [samples[0] for samples in stopped] == [ids[:end] for (ids,), end in zip(free, ends, strict=True)]
    assert 0 < np.mean([stop in ids for (ids,) in free]) < 1


def test_finished_is_asked_of_each_row_and_ends_it_alone():
    asked = []

    def finished(prompt, sample, ids):
        asked.append((prompt, sample, len(ids)))
        return prompt in (1, 6)

    updates = []
    free = written(new_tokens=80, **SAMPLED)
    how = dict(finished=finished, batch_size=4, progress=lambda *update: updates.append(update))
    found = written(new_tokens=80, **how, **SAMPLED)
    for prompt, (all_ids, kept) in enumerate(zip(free, found, strict=True)):
        assert kept == [ids[:CHUNK] if prompt in (1, 6) else ids for ids in all_ids]
    assert sorted(asked) == sorted(
        (prompt, sample, tokens)
        for prompt, ids in enumerate(free)
        for sample in range(3)
        for tokens in range(CHUNK, len(ids[0]), CHUNK)
        if tokens == CHUNK or prompt not in (1, 6)
    )
    assert updates[-1] == ("writing", 27, 27)


def test_a_prompt_is_read_once_and_lengths_share_executables(monkeypatch):
    jitted = sampling.jitted_writing
    jitted.cache_clear()
    calls = collections.Counter()

    def counting(*settings):
        parts = jitted(*settings)

        def counted(name):
            def call(*arguments):
                if name == "prefill":
                    calls["prompts read"] += int((np.asarray(arguments[2]) > 0).sum())
                calls[name] += 1
                return getattr(parts, name)(*arguments)

            return call

        return sampling.Writing(**{name: counted(name) for name in parts._fields})

    monkeypatch.setattr(sampling, "jitted_writing", counting)
    rng = np.random.default_rng(0)
    for seed in range(3):  # three checkpoints, other prompts each time
        prompts = [rng.integers(0, 37, length) for length in rng.integers(1, 140, 40)]
        written(loud_params(LONG, seed, 0.4), prompts, 20, batch_size=16, **SAMPLED)
    assert calls["prompts read"] == 3 * 40
    buckets = {bucket(length, 150) for length in range(1, 151)}
    assert buckets == {64, 96, 128, 150}
    settings = jax.tree.leaves(loud_params(LONG))[0].sharding
    parts = jitted(LONG, 0.8, 0.9, -1, settings, settings)
    compiled = {name: getattr(parts, name)._cache_size() for name in parts._fields}
    assert compiled["prefill"] <= 4 and compiled["decode"] <= 4 and compiled["weights"] == 1
    assert sum(compiled.values()) <= 24
    # No row waits for others: 40 x 3 completions of 20 tokens in 16 rows are 8 chunks.
    assert calls["decode"] == 3 * 8


def test_writing_refuses_what_cannot_be():
    params = loud_params(LONG)
    for change, message in (
        (dict(prompts=[np.array([1]), np.array([], int)]), "prompt 1 is empty"),
        (dict(prompts=[np.array([37])]), "vocabulary of 37"),
        (dict(new_tokens=0), "at least 1"),
        (dict(samples=2), "greedy samples"),
        (dict(temperature=-1.0), "temperature"),
        (dict(temperature=float("nan")), "temperature"),
        (dict(temperature=1.0, top_p=0.0), "top_p"),
        (dict(streams=[1, 2]), "2 streams for 10 prompts"),
    ):
        with pytest.raises(UserError, match=message):
            written(params, **change)
    assert write(Subject(params, LONG), [], Sampling(5)) == []
    assert written(params, [np.zeros(150, int)], samples=2, temperature=1.0) == [[[], []]]


SHARDED = """
import dataclasses, json
import jax
from helpers import loud, written as t
from babel_jax.common.errors import UserError
from babel_jax.measuring import sampling
from babel_jax.model import sharding
from babel_jax.probes.subject import Subject

config = dataclasses.replace(t.LONG, vocab_size=40)
mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
params = loud(config, 0, 0.4)
params = jax.device_put(params, sharding.shardings(mesh, params))
found = {"written": [t.written(params, config=config, batch_size=8, **options) for options in ({}, t.SAMPLED)]}
params, rows, everywhere = Subject(params, config, batch_size=8).placed()
cache, _ = sampling.jitted_writing(config, 0.0, 1.0, -1, rows, everywhere).blank(8, 64)
found["shard"] = cache[0]["k"].addressable_shards[0].data.shape
try:
    t.written(params, config=config, batch_size=3)
except UserError as error:
    found["refused"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.processes
def test_eight_devices_write_the_same():
    config = dataclasses.replace(LONG, vocab_size=40)
    want = [written(config=config, **options) for options in ({}, SAMPLED)]
    done = python("-c", SHARDED, devices=8)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["written"] == want
    assert found["shard"] == [2, 2, 64, 4]  # two of eight rows, two of four heads
    assert "not divisible by the 4 devices" in found["refused"]
