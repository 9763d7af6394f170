"""Completions of any length, in batches with a key-value cache: greedy or by nucleus sampling.

Letters as in `model/decoder.py`; S positions of a cache, C tokens of a chunk, R prompts that are read at once.
"""

import dataclasses
import functools
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from babel_jax.common.errors import UserError
from babel_jax.model.placement import devices_of_rows, jitted
from babel_jax.model.protocol import Model
from babel_jax.model.sharding import activation_sharding, row_devices
from babel_jax.model.taps import Inside, at_positions
from babel_jax.probes.subject import Subject
from babel_jax.training import preemption

CHUNK = 32  # tokens that a row gets between two questions whether it is finished
PROMPTS_AT_ONCE = 8  # prompts that are read side by side: neighbours in length, so that little of it is padding
PIECE = 32  # tokens of a prompt that are read at a time
SHORTEST = 64  # bucket of lengths


def bucket(length: int, longest: int) -> int:
    """The least of 64, 96, 128, 192, 256, 384, … that holds `length`, but never more than `longest`."""
    size = SHORTEST
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return min(size, longest)


def choose(logits_BxV, key_B, temperature: float, top_p: float):
    """The next token of each row, int32 [B]: the most probable one at temperature 0, else one of its nucleus.

    The nucleus is the least set of most probable tokens whose probabilities, at this temperature, sum to `top_p` or more;
    tokens that are exactly as probable as its last one belong to it. It holds one token at least.

    Args:
      logits_BxV: float32.
      key_B: a random key a row; None where temperature is 0.
    """
    if not temperature:
        return jnp.argmax(logits_BxV, axis=-1).astype(jnp.int32)
    # The greatest becomes 0 first, so that no temperature is too low for float32.
    logits_BxV = (logits_BxV - logits_BxV.max(axis=-1, keepdims=True)) / temperature
    if top_p < 1:
        probability_BxV = jax.nn.softmax(logits_BxV, axis=-1)
        least_Bx1 = least_of_nucleus(probability_BxV, top_p)[:, None]
        logits_BxV = jnp.where(probability_BxV >= least_Bx1, logits_BxV, -jnp.inf)
    return jax.vmap(jax.random.categorical)(key_B, logits_BxV).astype(jnp.int32)


def least_of_nucleus(probability_BxV, top_p: float):
    """The greatest p for which the probabilities >= p sum to `top_p`, float32 [B]: the last of the sorted nucleus.

    Found by bisection, which is many times faster than to sort on a CPU. It is exact, since the bits of positive floats
    are ordered as their values are: 30 halvings leave one float between 0 and 1.
    """
    B = len(probability_BxV)
    one = int(np.float32(1).view(np.int32))

    def halve(_, bounds):
        enough_B, too_high_B = bounds
        middle_B = (enough_B + too_high_B) // 2
        least_B = jax.lax.bitcast_convert_type(middle_B, jnp.float32)
        mass_B = jnp.where(probability_BxV >= least_B[:, None], probability_BxV, 0).sum(axis=-1)
        holds_B = mass_B >= top_p
        return jnp.where(holds_B, middle_B, enough_B), jnp.where(holds_B, too_high_B, middle_B)

    # One halving more than bits: what lies at 1 + one bit can never be reached.
    bounds = jnp.zeros(B, jnp.int32), jnp.full(B, one + 1, jnp.int32)
    return jax.lax.bitcast_convert_type(jax.lax.fori_loop(0, 31, halve, bounds)[0], jnp.float32)


class Next(NamedTuple):
    """What each row is about to write.

    `index_B`: its next position; `left_B`: tokens that it may still get, none where the row is free; `sample_B`, `stream_B`:
    number of the sample and its prompt's stream, see `write`.
    """

    index_B: np.ndarray
    left_B: np.ndarray
    sample_B: np.ndarray
    stream_B: np.ndarray


class Writing(NamedTuple):
    """The jitted parts of `write`.

    A state is `(cache, logits_BxV)`: all that a row's next token depends on, besides its `Next`. A cache is the model's, a tree
    of arrays [B, heads, S, …], rows and heads split.
    """

    weights: Callable  # params -> what `Model.advance` reads
    blank: Callable  # (B, S) -> state
    prefill: Callable  # (weights, prompts_BxT, length_B, S) -> state in which each prompt was read
    resize: Callable  # (cache, S) -> cache
    place: Callable  # (state, read, row_R, source_R) -> state: rows row_R become rows source_R of the state `read`
    decode: Callable  # (weights, state, next_of, a random key's data) -> (state, tokens_BxC)


@functools.cache
def jitted_writing(model: Model, temperature: float, top_p: float, stop_id: int, rows, everywhere) -> Writing:
    """Made once per shape of the model and way of sampling; one executable of each part per bucket of lengths."""
    mesh = getattr(everywhere, "mesh", None)
    cache_place = everywhere
    if mesh:  # rows always divide
        one_position = jax.eval_shape(lambda: model.empty_cache(row_devices(mesh), 1))
        cache_place = activation_sharding(mesh, "cache", jax.tree.leaves(one_position)[0].shape)
    parts = _Parts(model, mesh, temperature, top_p, stop_id)
    jit = functools.partial(jitted, everywhere=everywhere)
    state_place = (cache_place, rows)
    return Writing(
        weights=jax.jit(functools.partial(model.weights, mesh=mesh)),  # they stay as they lie
        blank=jit(parts.blank, static_argnums=(0, 1), out_shardings=state_place),
        prefill=jit(parts.prefill, static_argnums=3, out_shardings=state_place),
        resize=jit(parts.resize, static_argnums=1, out_shardings=cache_place),
        place=jit(parts.place, donate_argnums=0, out_shardings=state_place),
        decode=jit(parts.decode, donate_argnums=1, out_shardings=(state_place, everywhere)),
    )


def _positions(cache) -> int:
    return jax.tree.leaves(cache)[0].shape[2]


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """What `Writing` is made of, for one shape of the model and way of sampling; none share executables."""

    model: Model
    mesh: Mesh | None
    temperature: float
    top_p: float
    stop_id: int

    def blank(self, B: int, size: int):
        cache = self.model.empty_cache(B, size, self.mesh)
        return cache, jnp.zeros((B, self.model.vocab_size), jnp.float32)

    def advance(self, weights, cache, tokens_BxT, position_BxT):
        return self.model.advance(weights, cache, tokens_BxT, position_BxT, Inside(mesh=self.mesh))

    def logits(self, weights, h_BxD):
        return self.model.readout(weights)(h_BxD)

    def prefill(self, weights, prompts_BxT, length_B, size: int):
        B = len(length_B)

        def read(state):
            start, cache, last_BxD = state
            tokens_BxT = jax.lax.dynamic_slice_in_dim(prompts_BxT, start, PIECE, axis=1)
            position_BxT = jnp.broadcast_to(start + jnp.arange(PIECE), (B, PIECE))
            cache, h_BxTxD = self.advance(weights, cache, tokens_BxT, position_BxT)
            here_B = length_B - 1 - start
            here_BxD = at_positions(h_BxTxD, jnp.clip(here_B, 0, PIECE - 1)[:, None])[:, 0]
            inside_B = (here_B >= 0) & (here_B < PIECE)
            return start + PIECE, cache, jnp.where(inside_B[:, None], here_BxD, last_BxD)

        cache = self.blank(B, size)[0]
        _, h = jax.eval_shape(self.advance, weights, cache, prompts_BxT[:, :PIECE], prompts_BxT[:, :PIECE])
        nothing = jnp.int32(0), cache, jnp.zeros((B, self.model.width), h.dtype)
        _, cache, last_BxD = jax.lax.while_loop(lambda state: state[0] < length_B.max(), read, nothing)
        return cache, self.logits(weights, last_BxD)

    def resize(self, cache, size: int):
        def one(x_BxMxSxH):
            return jnp.pad(x_BxMxSxH[:, :, :size], ((0, 0), (0, 0), (0, max(0, size - x_BxMxSxH.shape[2])), (0, 0)))

        return jax.tree.map(one, cache)

    def place(self, state, read, row_R, source_R):
        read = self.resize(read[0], _positions(state[0])), read[1]
        return jax.tree.map(lambda old, new: old.at[row_R].set(new[source_R], mode="drop"), state, read)

    def decode(self, weights, state, next_of: Next, key_data):
        B, key = len(next_of.left_B), jax.random.wrap_key_data(key_data)
        key_B = jax.vmap(lambda *row: functools.reduce(jax.random.fold_in, row, key))(
            next_of.stream_B, next_of.sample_B
        )

        def one_token(loop):
            step, (cache, logits_BxV), index_B, left_B, tokens_CxB = loop
            token_key_B = jax.vmap(jax.random.fold_in)(key_B, index_B)
            token_B = choose(logits_BxV, token_key_B, self.temperature, self.top_p)
            cache, h_Bx1xD = self.advance(weights, cache, token_B[:, None], index_B[:, None])
            logits_BxV = self.logits(weights, h_Bx1xD[:, 0])
            writes_B = left_B > 0  # a row that has ended stays where it is
            left_B = jnp.where(token_B == self.stop_id, 0, left_B - writes_B)
            return step + 1, (cache, logits_BxV), index_B + writes_B, left_B, tokens_CxB.at[step].set(token_B)

        loop = jnp.int32(0), state, next_of.index_B, next_of.left_B, jnp.zeros((CHUNK, B), jnp.int32)
        loop = jax.lax.while_loop(lambda loop: (loop[0] < CHUNK) & (loop[3] > 0).any(), one_token, loop)
        return loop[1], loop[4].T


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    Attributes:
      new_tokens: of a completion at most.
      samples: completions a prompt.
      temperature: 0 takes the most probable token each time.
      top_p: the mass of the nucleus that tokens are drawn from, see `choose`; 1: all of them.
      seed: with a prompt's stream, a sample's number and a position it fixes the randomness of a token.
    """

    new_tokens: int = 512
    samples: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if self.new_tokens < 1 or not 0 <= self.temperature < math.inf or not 0 < self.top_p <= 1:
            raise UserError(
                f"--new_tokens={self.new_tokens} must be at least 1, --temperature={self.temperature} at least 0 and "
                f"--top_p={self.top_p} in (0, 1]; correct them."
            )


def write(
    subject: Subject,
    prompts: Sequence[np.ndarray],
    sampling: Sampling,
    *,
    finished: Callable[[int, int, np.ndarray], bool] = lambda prompt, sample, ids: False,
    streams: Sequence[int] | None = None,
    progress: Callable[[str, int, int], None] = lambda doing, done, of: None,
) -> list[list[np.ndarray]]:
    """Completions of prompts of any lengths: for each prompt a list of `samples` arrays of token ids, int32.

    A prompt is read once, however many samples it gets. A row that has ended makes room for the next completion at once, so
    give many prompts in one call. What is written does not depend on batch, order of prompts or number of devices, up to
    floating-point rounding. Prompt and completion together fit the model's context, and a prompt that leaves no room
    gets completions without a token.

    Args:
      subject: at most `batch_size` completions are written side by side; `document_end` ends a completion, itself no part of it.
      finished: `(number of the prompt, number of the sample, ids so far) -> bool`, asked for every row that goes on, after
        each `CHUNK` of its tokens: what a completion holds behind its true end is the caller's to cut.
      streams: a number below 2^32 for the randomness of each prompt; None: its place in the list. Give them where a call
        holds a part of the work only.
      progress: called after each chunk with ("writing", completions that are done, of how many).

    Raises:
      UserError: an empty prompt, ids outside of the vocabulary, a setting out of range, a batch that does not divide among
        the devices.
    """
    prompts = [np.asarray(prompt, np.int64) for prompt in prompts]
    streams = np.arange(len(prompts), dtype=np.uint32) if streams is None else np.asarray(streams, np.uint32)
    _check(subject, prompts, sampling, streams)
    batch = _Batch(subject, prompts, sampling, streams)
    while True:
        preemption.check()
        batch.fill()
        if not batch.left_B.any():
            return batch.written
        batch.go_on(finished)
        progress("writing", batch.done, batch.wanted)


class _Batch:
    """B rows on the devices, which completion each of them is writing, and all that is `written`."""

    def __init__(self, subject: Subject, prompts: list, sampling: Sampling, streams: np.ndarray):
        self.prompts, self.samples, self.streams = prompts, sampling.samples, streams
        self.longest, self.stop_id = subject.model.max_length, subject.document_end
        self.limit = [min(sampling.new_tokens, self.longest - len(prompt)) for prompt in prompts]
        order = [i for i in np.argsort([len(prompt) for prompt in prompts], kind="stable") if self.limit[i] > 0]
        self.done, self.wanted = 0, len(order) * self.samples
        self.written = [[np.zeros(0, np.int32) for _ in range(self.samples)] for _ in prompts]
        # No more rows than a power of two, on each device, that holds all that is wanted.
        devices = devices_of_rows(subject.params)
        enough = devices * (1 << max(0, -(-self.wanted // devices) - 1).bit_length())
        self.B = min(subject.batch_size, enough)
        self.R = min(self.B, math.lcm(PROMPTS_AT_ONCE, devices))
        params, self.rows, self.everywhere = dataclasses.replace(subject, batch_size=self.B).placed()
        how = float(sampling.temperature), float(sampling.top_p), self.stop_id
        self.parts = jitted_writing(subject.model, *how, self.rows, self.everywhere)
        self.weights = self.parts.weights(params)
        # As plain numbers: of several hosts, none can put a key on the devices of the others.
        key_data = np.asarray(jax.random.key_data(jax.random.key(sampling.seed)))
        self.key_data = jax.device_put(key_data, self.everywhere)
        self.groups = deque(order[start : start + self.R] for start in range(0, len(order), self.R))
        self.waiting, self.was_read = deque(), None  # (row of what was read last, prompt, sample)
        self.prompt_B, self.sample_B, self.index_B, self.left_B = np.zeros((4, self.B), np.int32)
        self.state = self.parts.blank(self.B, bucket(1, self.longest))

    def fill(self) -> None:
        """Gives every free row the next completion, as long as there are any."""
        while (free := np.flatnonzero(self.left_B == 0)).size and (self.waiting or self.groups):
            if not self.waiting:
                chosen = self.groups.popleft()
                self.was_read = self._read([self.prompts[i] for i in chosen])
                self.waiting.extend((row, i, sample) for row, i in enumerate(chosen) for sample in range(self.samples))
            row_R, source_R = np.full(self.R, self.B, np.int32), np.zeros(self.R, np.int32)
            for row, b in enumerate(free[: min(self.R, len(self.waiting))]):  # others go to row B, outside: dropped
                row_R[row], (source_R[row], i, self.sample_B[b]) = b, self.waiting.popleft()
                self.prompt_B[b], self.index_B[b], self.left_B[b] = i, len(self.prompts[i]), self.limit[i]
            self._fit()
            places = jax.device_put((row_R, source_R), self.everywhere)
            self.state = self.parts.place(self.state, self.was_read, *places)

    def _read(self, prompts: list):
        """The state in which these prompts' first tokens are about to be written."""
        size = bucket(max(map(len, prompts)), self.longest)
        prompts_RxT, length_R = np.zeros((self.R, -(-size // PIECE) * PIECE), np.int32), np.zeros(self.R, np.int32)
        for row, prompt in enumerate(prompts):
            prompts_RxT[row, : len(prompt)], length_R[row] = prompt, len(prompt)
        return self.parts.prefill(self.weights, *jax.device_put((prompts_RxT, length_R), self.rows), size)

    def _fit(self) -> None:
        """Makes the cache hold the next chunk, and not be twice as long as it need be."""
        needed = (self.index_B + np.minimum(self.left_B, CHUNK))[self.left_B > 0].max()
        (cache, logits_BxV), size = self.state, bucket(int(needed), self.longest)
        if size > _positions(cache) or 2 * size <= _positions(cache):
            self.state = self.parts.resize(cache, size), logits_BxV

    def go_on(self, finished) -> None:
        """Writes the next chunk of every row; nothing is left of those that ended."""
        self._fit()
        next_of = Next(self.index_B, self.left_B, self.sample_B, self.streams[self.prompt_B])
        next_of = jax.device_put(next_of, self.rows)
        self.state, tokens_BxC = self.parts.decode(self.weights, self.state, next_of, self.key_data)
        tokens_BxC = np.asarray(tokens_BxC)
        for b in np.flatnonzero(self.left_B):
            i, sample = int(self.prompt_B[b]), int(self.sample_B[b])
            new = tokens_BxC[b, : self.left_B[b]]
            stopped = self.stop_id in new
            if stopped:
                new = new[: np.argmax(new == self.stop_id)]
            ids = self.written[i][sample] = np.concatenate([self.written[i][sample], new])
            self.index_B[b] += len(new)
            self.left_B[b] = 0 if stopped else self.left_B[b] - len(new)
            if self.left_B[b] and finished(i, sample, ids):
                self.left_B[b] = 0
            self.done += int(self.left_B[b] == 0)


def _check(subject: Subject, prompts: list, sampling: Sampling, streams) -> None:
    vocab_size, samples = subject.model.vocab_size, sampling.samples
    for number, prompt in enumerate(prompts):
        if not prompt.size:
            raise UserError(f"prompt {number} is empty; leave it out, or give it a first token.")
        if prompt.min() < 0 or prompt.max() >= vocab_size:
            raise UserError(
                f"prompt {number} holds token ids outside of the model's vocabulary of {vocab_size}; "
                "encode it with the model's own tokenizer."
            )
    if min(samples, subject.batch_size) < 1:
        raise UserError("samples and batch size must be at least 1; raise them.")
    if samples > 1 and not sampling.temperature:
        raise UserError(f"{samples} greedy samples of a prompt would be the same; give a temperature such as 0.8.")
    if len(streams) != len(prompts):
        raise UserError(f"{len(streams)} streams for {len(prompts)} prompts; give each prompt its own.")
