"""Sets of neurons, random ones of the same sizes, and what is done to their values, as data of a forward pass.

Letters as in `model/decoder.py`; R random sets. Layers and neurons count from 0.
"""

import numpy as np

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.model.protocol import Model
from babel_jax.model.taps import Edit
from babel_jax.probes.forward import Pass

DRAWS = 20  # random sets that a score is compared with: the least with which an empirical p can be below 0.05
# kind -> (options that it requires, optional ones); a value a becomes factor * a + addend, see `_factor_and_addend`
KINDS = {
    "zero": ((), ()),
    "value": (("value",), ()),
    "mean": (("mean_LxF",), ()),
    "resample": ((), ("source_B",)),
    "scale": (("factor",), ()),
    "add": (("mean_LxF",), ("factor",)),
    "replace": (("mean_LxF",), ()),
    "diffmean": (("mean_LxF", "other_KxLxF"), ("factor",)),
}


def neuron_set(model: Model, places) -> np.ndarray:
    """The mask [L, F] of neurons given as (layer, index) pairs, both counted from 0.

    Raises:
      UserError: a pair that the model does not have.
    """
    pairs_Nx2 = np.asarray(list(places))
    neurons_LxF = np.zeros((model.layers, model.ffn_width), bool)
    if not pairs_Nx2.size:
        return neurons_LxF
    if pairs_Nx2.ndim != 2 or pairs_Nx2.shape[1] != 2 or pairs_Nx2.dtype.kind not in "iu":
        raise UserError(
            "a set of neurons is a list of (layer, index) pairs of whole numbers, such as [(0, 5), (1, 70)]."
        )
    outside = (pairs_Nx2 < 0).any(1) | (pairs_Nx2 >= neurons_LxF.shape).any(1)
    if outside.any():
        layer, index = pairs_Nx2[outside][0]
        raise UserError(
            f"neuron ({layer}, {index}) is not in this model of {model.layers} layers with {model.ffn_width} neurons; "
            "this is a neuron set of another model."
        )
    neurons_LxF[tuple(pairs_Nx2.T)] = True
    return neurons_LxF


def means(measured: Pass) -> np.ndarray:
    """The mean value of each neuron over each language's tokens, [K, L, F].

    Raises:
      UserError: a language of which nothing was measured.
    """
    tokens_K = measured.tokens_RxK.sum(axis=0)
    without = [name for name, tokens in zip(measured.languages, tokens_K, strict=True) if not tokens]
    if without:
        raise UserError(
            f"no token of {', '.join(without)} was measured, so it has no mean; measure held-out rows of it."
        )
    sum_LxFxK = np.asarray(measured.activation_sum_RxLxFxK, np.float64).sum(axis=0)
    return np.moveaxis(sum_LxFxK / tokens_K, -1, 0)


def edit(kind: str, neurons_LxF, where_BxT=None, **options) -> Edit:
    """What is done to the values a of a set of neurons, as data of a forward pass.

    zero      a = 0                      value     a = `value` (a number, or one a neuron [L, F])
    mean      a = `mean_LxF`             replace   the same, with the mean of the language that is steered to
    scale     a = `factor` * a           add       a + `factor` * `mean_LxF` (factor 1 unless given)
    resample  a of row `source_B[b]` of the same batch at the same position
    diffmean  a + `factor` * (`mean_LxF` - the mean of `other_KxLxF` over its languages)

    Args:
      neurons_LxF: mask of true and false.
      where_BxT: the tokens at which it is done; None: at all.
      options: those that the kind needs (see `KINDS`), and those it may have; means are rows of `means(measured)`.

    Raises:
      UserError: an unknown kind, something that the kind needs or does not take, a mask that is not one.
    """
    if kind not in KINDS:
        raise unknown_name("intervention", kind, KINDS)
    required, optional = KINDS[kind]
    if missing := [name for name in required if options.get(name) is None]:
        raise UserError(f"intervention '{kind}' needs {' and '.join(missing)}.")
    if idle := [name for name in options if name not in required + optional]:
        raise UserError(f"intervention '{kind}' does not take {' and '.join(idle)}; leave it out.")
    on_LxF = np.asarray(neurons_LxF)
    if on_LxF.dtype != bool or on_LxF.ndim != 2:
        raise UserError(
            "a set of neurons is a mask of true and false [layers, ffn_width]; neuron_set makes one of pairs."
        )
    for name in {"mean_LxF", "other_KxLxF"} & options.keys():
        if np.shape(options[name])[-2:] != on_LxF.shape:
            raise UserError(
                f"{name} {np.shape(options[name])} and the set of neurons {on_LxF.shape} are of different models."
            )
    if kind == "resample":
        return Edit(swap_LxF=on_LxF, source_B=options.get("source_B"), where_BxT=where_BxT)
    multiply, add = _factor_and_addend(kind, **options)
    return Edit(
        multiply_LxF=np.where(on_LxF, multiply, 1.0).astype(np.float32),
        add_LxF=np.where(on_LxF, add, 0.0).astype(np.float32),
        where_BxT=where_BxT,
    )


def _factor_and_addend(kind: str, value=None, mean_LxF=0.0, other_KxLxF=0.0, factor=1.0) -> tuple:
    """A value a becomes the first times a plus the second."""
    target = np.asarray(mean_LxF, np.float64)
    if kind in ("add", "diffmean"):
        other = np.asarray(other_KxLxF, np.float64).mean(axis=0) if kind == "diffmean" else 0.0
        return 1.0, factor * (target - other)
    if kind == "scale":
        return factor, 0.0
    return 0.0, value if kind == "value" else target  # of "zero" the target is 0


def random_sets(neurons_LxF, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Random sets with as many neurons in each layer as `neurons_LxF`: bool [R, L, F]; deterministic.

    They are drawn from the neurons outside the set. Where a layer has too few of those, the rest comes from the set itself.

    Raises:
      UserError: fewer than `DRAWS` draws.
    """
    if draws < DRAWS:
        raise UserError(f"{draws} random sets are too few to compare with chance; draw at least {DRAWS}.")
    neurons_LxF = np.asarray(neurons_LxF, bool)
    rng = np.random.default_rng(seed)
    drawn_RxLxF = np.zeros((draws, *neurons_LxF.shape), bool)
    for layer, own_F in enumerate(neurons_LxF):
        order_RxF = np.argsort(rng.random((draws, own_F.size)) + own_F.astype(float), axis=1)
        np.put_along_axis(drawn_RxLxF[:, layer], order_RxF[:, : own_F.sum()], True, axis=1)
    return drawn_RxLxF
