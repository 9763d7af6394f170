"""What a neuron's value is worth to the loss: gradient times value (of a gated FFN the value is the product: model/README.md).

Gradients of all neurons come from one backward pass a batch through `Edit.watch` (see `model/decoder.py`), which sums
over tokens inside every layer: no array of ours is of the size L x B x T x F. Letters as in `model/decoder.py`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.model import placement
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Edit, Inside
from babel_jax.probes.by_scores import ByScores, top_scores
from babel_jax.probes.lape import TOP_RATE
from babel_jax.probes.subject import Subject, row_batches
from babel_jax.training.loss import segments, token_loss

PLS_RATIO = 1.5  # how much larger than the second best score a neuron's best one must be


def watch_gradient(loss, model: Model, weight_BxTxK):
    """The sums of w |a dL/da| and of w a dL/da over tokens, [L, F, K, 2]; `loss` is a function of an `Edit`."""
    watch_LxFxKx2 = jnp.zeros((model.layers, model.ffn_width, weight_BxTxK.shape[2], 2), jnp.float32)
    return jax.grad(lambda watch: loss(Edit(watch_LxFxKx2=watch, watch_BxTxK=weight_BxTxK)))(watch_LxFxKx2)


@functools.cache
def _gradient_pass(model: Model, document_end: int, everywhere):
    """Jitted `(params, sums, batch) -> sums`; a batch holds `tokens`, `targets`, `loss` [B, T] and `language` [B]."""
    mesh = getattr(everywhere, "mesh", None)

    def step(params, sums, batch):
        inside_BxT = batch["tokens"] != document_end  # as in LAPE's count: it belongs to no language, predicts nothing
        language_BxK = jax.nn.one_hot(batch["language"], sums["tokens_K"].shape[0], dtype=jnp.float32)
        weight_BxTxK = inside_BxT[:, :, None] * language_BxK[:, None, :]

        def loss(edit):
            segment_BxT = segments(batch["tokens"], document_end)
            final_BxTxD, _ = model.forward(params, batch["tokens"], segment_BxT, Inside(edit=edit, mesh=mesh))
            logits_BxTxV = model.readout(params)(final_BxTxD)
            return (token_loss(logits_BxTxV, batch["targets"]) * batch["loss"] * inside_BxT).sum()

        return {
            "sum_LxFxKx2": sums["sum_LxFxKx2"] + watch_gradient(loss, model, weight_BxTxK),
            "tokens_K": sums["tokens_K"] + weight_BxTxK.sum(axis=(0, 1)).astype(jnp.int32),
        }

    return placement.jitted(step, everywhere, donate_argnums=1)


def gradient_scores(subject: Subject, heldout: dict, languages: list) -> np.ndarray:
    """The mean over each language's tokens of |a| |dL/da|, in nats, [L, F, K]: one backward pass over all held-out rows.

    L is the sum of the losses of a row's counted targets, so that a token's gradient depends on its own row alone: neither
    the size of the batch nor the other rows change it. A token's value counts through all later tokens that read it.

    Args:
      heldout: language -> `tokens` [N, T+1] and `loss` [N, T] (weight of each target in the loss).
      languages: the languages of axis K, in this order.

    Raises:
      UserError: a language has no held-out rows, or the batch does not divide among the devices.
    """
    missing = [name for name in languages if name not in heldout or not len(heldout[name]["tokens"])]
    if missing or not languages:
        raise UserError(f"no held-out rows of {missing}; give `gradient_scores` languages that have some.")
    model = subject.model
    params, rows, everywhere = subject.placed()
    step = _gradient_pass(model, subject.document_end, everywhere)
    sums = {
        "sum_LxFxKx2": np.zeros((model.layers, model.ffn_width, len(languages), 2), np.float32),
        "tokens_K": np.zeros(len(languages), np.int32),
    }
    sums = jax.device_put(sums, everywhere)
    for index, name in enumerate(languages):
        tokens = np.asarray(heldout[name]["tokens"], np.int32)
        held = {
            "tokens": tokens[:, :-1],
            "targets": tokens[:, 1:],
            "loss": np.asarray(heldout[name]["loss"], np.float32),
            "language": np.full(len(tokens), index, np.int32),
        }
        for _, batch in row_batches(held, subject.batch_size, language=-1):
            sums = step(params, sums, jax.device_put(batch, rows))
    return statistics.ratio(np.asarray(sums["sum_LxFxKx2"])[..., 0], np.asarray(sums["tokens_K"]).astype(np.int64))


def pls(score_xLxFxK, top_rate: float = TOP_RATE):
    """Neurons by gradient times value, member_KxxLxF (arXiv 2512.19980).

    A neuron belongs to the language of its largest score if that is positive and at least `PLS_RATIO` times the second
    largest; of those the `top_rate` of ALL neurons with the largest scores is kept. Warns when there are fewer.

    Args:
      score_xLxFxK: mean over the tokens of each language of |a| |dL/da|; x as in `lape.lape`.
    """
    score_xLxFxK = np.asarray(score_xLxFxK)
    if score_xLxFxK.shape[-1] < 2:
        raise UserError("pls compares languages; score at least two.")
    ordered = np.sort(score_xLxFxK, axis=-1)
    best_xLxF, second_xLxF = ordered[..., -1], ordered[..., -2]
    own_xLxF = (best_xLxF >= PLS_RATIO * second_xLxF) & (best_xLxF > 0)
    wanted = round(best_xLxF.shape[-1] * best_xLxF.shape[-2] * top_rate)
    kept_xLxF = top_scores(np.where(own_xLxF, best_xLxF, 0), wanted)
    return kept_xLxF & (np.moveaxis(score_xLxFxK, -1, 0) == best_xLxF)


class _Pls(ByScores):
    """Its scores are score_LxFxK of all languages: what is compared is a neuron's score for one with that for the others."""

    def mask(self, scores, language, languages, count):
        return pls(scores)[languages.index(language)]

    def options(self, languages, count):
        return {"top_rate": TOP_RATE, "ratio": PLS_RATIO, "languages": ",".join(languages)}

    def curve(self, scores, language, languages):
        """Neurons whose score is at least `ratio` times the second best, of all neurons and not of the top 1 %."""
        score_LxFxK, new = np.asarray(scores, np.float64), languages.index(language)
        own_LxF, other_LxF = score_LxFxK[..., new], np.delete(score_LxFxK, new, axis=-1).max(axis=-1)
        values = np.linspace(1, 3, 21).round(6)
        return "ratio", values, [((own_LxF > 0) & (own_LxF >= at * other_LxF)).sum() for at in values]


def _scores_of_all(subject: Subject, material, new: list[str]) -> dict:
    scores = gradient_scores(subject, material.heldout, sorted([material.primary, *new]))
    return dict.fromkeys(new, scores)


PLS = _Pls("pls", _scores_of_all, at_slots=False)
