"""Definitions of transferring neurons by counts of active tokens: which neurons of a `lape.Selection` transfer to a language.

Letters as in `lape.py`; x any leading axes.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from babel_jax.probes import lape
from babel_jax.probes.lape import Selection

SHARED_ENTROPY = 0.9  # of ln 2: how evenly a pair-shared neuron must fire for its two languages


@dataclasses.dataclass(frozen=True)
class ByCounts:
    """A definition by counts.

    Attributes:
      name: the metric of its rows.
      mask: (selection, index of the primary, index of the new language) -> mask [..., L, F].
      depends_on: what its number is drawn against, of `neuron_rows.CURVES`; with "entropy" `mask` also takes `evenness`.
      languages: how many must be compared for it to mean something.
    """

    name: str
    mask: Callable
    depends_on: tuple[str, ...] = ("top_rate", "filter_rate")
    languages: int = 2


def _lape_target(selection: Selection, primary: int, new: int):
    """Specific to the new language: "following Tang" read literally."""
    return selection.chosen_xLxF & selection.above_KxxLxF[new]


def _lape_both(selection: Selection, primary: int, new: int):
    """Specific to the new language and to the primary one."""
    return _lape_target(selection, primary, new) & selection.above_KxxLxF[primary]


def _lape_exclusive(selection: Selection, primary: int, new: int):
    """Specific to the new language and to no other."""
    return _lape_target(selection, primary, new) & (selection.above_KxxLxF.sum(axis=0) == 1)


def _pair_shared(selection: Selection, primary: int, new: int, evenness: float = SHARED_ENTROPY):
    """Above the bar in both languages and in no further one, about evenly; any number of them."""
    above_KxxLxF = selection.above_KxxLxF
    pair_xLxF = above_KxxLxF[primary] & above_KxxLxF[new] & (above_KxxLxF.sum(axis=0) == 2)
    p_2xM = np.stack([selection.p_KxxLxF[k][pair_xLxF] for k in (primary, new)])  # few: the entropy is what costs
    pair_xLxF[pair_xLxF] = lape.entropy(p_2xM) >= evenness * np.log(2)
    return pair_xLxF


LAPE_TARGET = ByCounts("lape_target", _lape_target)
# Of two probabilities above a bar b the entropy is high (b = 0.5: at least 0.637 of 0.693 nats), almost never among the
# lowest 1 %: with two languages this one is nearly empty by construction.
LAPE_BOTH = ByCounts("lape_both", _lape_both, languages=3)
LAPE_EXCLUSIVE = ByCounts("lape_exclusive", _lape_exclusive)
PAIR_SHARED = ByCounts("pair_shared", _pair_shared, ("filter_rate", "entropy"))
