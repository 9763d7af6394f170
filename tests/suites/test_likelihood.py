import dataclasses
import itertools
import json
import math

import jax
import numpy as np
import pytest
from helpers import byte_level, loud, python
from helpers.solutions import CONFIG, END, PROBLEMS, TEXTS, TOKENIZER, TOO_LONG, losses_of, problem

from babel_jax.common.errors import UserError
from babel_jax.corpus import tokenizer
from babel_jax.model import placement
from babel_jax.model.decoder import Decoder
from babel_jax.probes.subject import Subject
from babel_jax.suites import likelihood
from babel_jax.suites.likelihood import SolutionLoss, encode, solution_losses, windows
from babel_jax.training.loss import token_loss


def slow_bits(params, config, prompt, solution):
    """One problem, a full forward of its own: bits and bytes of the tokens that hold bytes of the solution."""
    ids = TOKENIZER.encode(prompt + solution)
    sizes = [len(TOKENIZER.pieces()[i]) for i in ids]
    ends = list(itertools.accumulate(sizes))
    first = max(1, next((i for i in range(len(ids)) if ends[i] > len(prompt.encode())), len(ids)))
    if first >= len(ids):
        return 0.0, 0
    logits = jax.jit(lambda tokens: Decoder(config).apply({"params": params}, tokens)[0])(ids[None, :-1])
    losses = np.asarray(token_loss(logits, ids[None, 1:]), np.float64)[0, first - 1 :]
    return losses.sum() / math.log(2), ends[-1] - ends[first - 1]


@pytest.mark.long
def test_it_is_a_full_forward_of_each_problem():
    params = loud(CONFIG)
    losses = losses_of(PROBLEMS, params)
    assert [loss.problem.number for loss in losses] == [0, 1, 2, 3, 4, 6, 7, 8]
    for loss in losses:
        texts = [text.replace("\u2581", " ") for text in (loss.problem.prompt, loss.problem.solution)]
        bits, count = slow_bits(params, CONFIG, *texts)
        assert (loss.bytes, loss.truncated) == (count, False)
        assert loss.bits == pytest.approx(bits, rel=1e-5)
    assert losses[0].bits > 50 and losses[5].bits == losses[5].bytes == 0


def test_a_token_across_the_border_is_counted_whole():
    ids, first = encode(TOKENIZER, "def add_1(a, b):\n", "    return a\n")
    assert TOKENIZER.decode(ids[first:]) == "    return a\n"
    for spaces in (1, 2, 3):  # the border lies inside of the token of four spaces
        same, straddling = encode(TOKENIZER, "def add_1(a, b):\n" + " " * spaces, " " * (4 - spaces) + "return a\n")
        assert same.tolist() == ids.tolist() and straddling == first
    _, behind = encode(TOKENIZER, "def add_1(a, b):\n    ", "return a\n")
    assert behind == first + 1
    ids, first = encode(TOKENIZER, "x = '", "€'")  # a character that is three tokens of a byte
    assert TOKENIZER.token_bytes_V[ids[first:]].tolist()[:3] == [1, 1, 1]


def test_bytes_add_up_for_a_byte_level_tokenizer():
    other = tokenizer.HuggingFace(byte_level(TEXTS, 368).to_str().encode())
    for p in PROBLEMS:
        prompt, solution = (text.replace("\u2581", " ") for text in (p.prompt, p.solution or ""))
        ids, first = encode(other, p.prompt, p.solution or "")
        assert other.decode(ids) == prompt + solution
        if first < len(ids) and first > 1:
            before = b"".join(other.pieces()[i] for i in ids[:first])
            assert prompt.encode().startswith(before) and len(prompt.encode()) - len(before) < 25


def test_batch_buckets_and_company_change_nothing(monkeypatch):
    params = loud(CONFIG)
    together = losses_of(PROBLEMS + TOO_LONG, params)
    others = [
        [loss for p in PROBLEMS + TOO_LONG for loss in losses_of([p], params)],
        losses_of((PROBLEMS + TOO_LONG)[::-1], params)[::-1],
        losses_of(PROBLEMS + TOO_LONG, params, end=7),  # what fills up rows weighs nothing
    ]
    monkeypatch.setattr(placement, "BATCH_ROWS", {True: 3, False: 3})
    others.append(losses_of(PROBLEMS + TOO_LONG, params))
    for losses in others:
        for loss, again in zip(together, losses, strict=True):
            assert again.bits == pytest.approx(loss.bits, rel=1e-5)
            assert dataclasses.replace(again, bits=loss.bits) == loss


def test_progress_is_reported_after_each_batch():
    calls = []
    subject = Subject(loud(CONFIG), CONFIG, END)
    solution_losses(
        subject, TOKENIZER, [problem(n, "x = ", "y\n") for n in range(40)], "raw", lambda *all: calls.append(all)
    )
    assert calls == [("reading solutions", 32, 40), ("reading solutions", 40, 40)]


def test_lengths_share_executables():
    likelihood.jitted_nats.cache_clear()
    for seed in range(2):
        params = loud(CONFIG, seed)
        losses_of(PROBLEMS + TOO_LONG, params)
        losses_of([problem(n, "x" * n, TEXTS[n]) for n in range(30)], params)
    sharding = jax.tree.leaves(params)[0].sharding
    assert likelihood.jitted_nats(CONFIG, END, sharding)._cache_size() <= 4  # 64, 96, 128, 130


def test_what_is_too_long_is_cut_on_its_left():
    params = loud(CONFIG)
    prompt_too_long, solution_too_long = losses_of(TOO_LONG, params)
    assert prompt_too_long.truncated and solution_too_long.truncated
    ids, first = encode(TOKENIZER, TOO_LONG[0].prompt, TOO_LONG[0].solution)
    row = ids[-131:]
    logits = Decoder(CONFIG).apply({"params": params}, row[None, :-1])[0]
    bits = np.asarray(token_loss(logits, row[None, 1:]))[0, first - len(ids) :].sum() / math.log(2)
    assert prompt_too_long.bits == pytest.approx(bits, rel=1e-5)
    assert prompt_too_long.bytes == len(TOO_LONG[0].solution)
    ids, first = encode(TOKENIZER, TOO_LONG[1].prompt, TOO_LONG[1].solution)
    assert len(ids) - first > 300 and solution_too_long.bytes >= len(TEXTS[5]) * 12
    assert solution_too_long.bits / (len(ids) - first) > 3


def test_windows_count_each_target_once_with_enough_before_it():
    for tokens in (2, 5, 11, 12, 30, 31, 57):
        for first in range(1, tokens):
            for context in (1, 4, 10, 11):
                counted = []
                for start, begin, end in windows(tokens, first, context):
                    assert 0 <= start < begin < end and end - start - 1 <= context
                    if begin > first:
                        assert begin - start > context // 2
                    counted += range(begin, end)
                assert sorted(counted) == list(range(first, tokens))
    assert windows(10, 4, 9) == [(0, 4, 10)]
    assert windows(20, 15, 10) == [(9, 15, 20)]


def test_a_stripped_line_break_is_part_of_what_is_predicted():
    raw, stripped = (losses_of(PROBLEMS[:1], variant=variant)[0] for variant in ("raw", "strip_newline"))
    assert stripped.bytes > raw.bytes


def test_bits_per_byte_with_an_interval_over_problems():
    rng = np.random.default_rng(0)
    losses = [
        SolutionLoss(dataclasses.replace(PROBLEMS[0], suite="s", language=language), bits, n, n > 95)
        for language, noise in (("python", 0.1), ("php", 1.0))
        for n, bits in ((n, n * max(0.1, rng.normal(2, noise))) for n in rng.integers(10, 100, 200))
    ]
    losses.append(SolutionLoss(dataclasses.replace(PROBLEMS[3], suite="other"), 30.0, 10, True))
    rows = likelihood.rows(losses, "raw")
    narrow, wide, single = rows[:3]
    assert [(row["options"]["suite"], row["language"], row["n"]) for row in (narrow, wide, single)] == [
        ("s", "python", 200),
        ("s", "php", 200),
        ("other", "php", 1),
    ]
    mine = losses[:200]
    assert narrow["value"] == pytest.approx(sum(x.bits for x in mine) / sum(x.bytes for x in mine))
    assert narrow["metric"] == "bits_per_byte" and narrow["options"]["truncated"] == sum(x.truncated for x in mine)
    for row in (narrow, wide):
        assert row["ci_low"] < row["value"] < row["ci_high"]
    # A mean of 200 values of standard deviation 1, weighted by bytes: about 4 * 1 / sqrt(200 / 1.2).
    assert 0.2 < wide["ci_high"] - wide["ci_low"] < 0.45
    assert narrow["ci_high"] - narrow["ci_low"] < 0.06
    assert single["value"] == 3.0
    assert [row["metric"] for row in rows[3:]] == ["solution_bits"] * 401
    last = rows[-1]
    assert (last["language"], last["item"], last["value"], last["n"]) == ("php", 3, 30.0, 10)
    assert last["options"] == {"suite": "other", "variant": "raw", "truncated": True}
    assert likelihood.rows([], "raw") == []


def test_wrong_models_are_refused():
    with pytest.raises(UserError, match="368 tokens and the model 100"):
        losses_of(PROBLEMS, config=dataclasses.replace(CONFIG, vocab_size=100))
    with pytest.raises(UserError, match="unknown prompt variant"):
        losses_of(PROBLEMS, variant="loud")
    assert losses_of([PROBLEMS[5]]) == []


SHARDED = """
import json
import jax
from helpers import loud, solutions
from babel_jax.model import sharding

mesh = sharding.make_mesh(data=2, fsdp=2, tensor=2)
params = loud(solutions.CONFIG)
params = jax.device_put(params, sharding.shardings(mesh, params))
print(json.dumps([(loss.bits, loss.bytes) for loss in solutions.losses_of(solutions.PROBLEMS + solutions.TOO_LONG, params)]))
"""


@pytest.mark.processes
def test_eight_devices_find_the_same():
    done = python("-c", SHARDED, devices=8)
    assert done.returncode == 0, done.stderr[-3000:]
    for one, (bits, count) in zip(
        losses_of(PROBLEMS + TOO_LONG), json.loads(done.stdout.splitlines()[-1]), strict=True
    ):
        assert bits == pytest.approx(one.bits, rel=1e-5) and count == one.bytes
