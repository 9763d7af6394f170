"""What is read at a slot besides its two identifiers: the same of other pairs, and the names in all languages.

A slot may know its identifier's names in more than two languages, as columns `ids.LANGUAGE` [N, M] (-1: none). Other pairs'
identifiers are those of other slots, so a slot need not bring any. Letters: N slots, J other pairs, K languages, M tokens of a
set, L layers, O tokens that are read for all of this.
"""

import dataclasses
import itertools

import numpy as np

from babel_jax.probes import other_pairs
from babel_jax.probes.other_pairs import Others
from babel_jax.probes.prompts import SIDES, identifier_set

NAMES = "ids."


@dataclasses.dataclass(frozen=True, eq=False)
class Names:
    """Names that are compared with each other at each slot, and whose else they are compared with.

    Attributes:
      languages: of K names; ("primary", "new") of a pair.
      ids_NxKxM: token ids, -1 padded.
      distinct_N: whether every language has a name here, and no token stands for two.
      others: None where no slot has other pairs.
    """

    languages: tuple[str, ...]
    ids_NxKxM: np.ndarray
    distinct_N: np.ndarray
    others: Others | None

    @property
    def other_ids_NxJxKxM(self) -> np.ndarray:
        """The names of other pairs, -1 padded; J is 0 where there are none."""
        if self.others is None:
            return np.zeros((len(self.ids_NxKxM), 0, *self.ids_NxKxM.shape[1:]), np.int32)
        return np.where(self.others.slot_NxJ[:, :, None, None] >= 0, self.ids_NxKxM[self.others.slot_NxJ], -1)


def pair_names(slots: dict) -> Names:
    """The primary's and the new language's identifier."""
    return _names(slots, SIDES, [identifier_set(slots, side) for side in SIDES])


def language_names(slots: dict) -> Names | None:
    """The identifier's name in all languages in which it is known; None where these are two at most."""
    languages = sorted(name.removeprefix(NAMES) for name in slots if name.startswith(NAMES))
    if len(languages) <= len(SIDES):
        return None
    return _names(slots, tuple(languages), [np.asarray(slots[NAMES + name], np.int32) for name in languages])


def only(slots: dict, languages) -> dict:
    """Slots that know the names in these languages alone."""
    unwanted = {name for name in slots if name.startswith(NAMES) and name.removeprefix(NAMES) not in languages}
    return {name: values for name, values in slots.items() if name not in unwanted}


def _names(slots: dict, languages: tuple[str, ...], sets: list) -> Names:
    M, N = max(ids_NxM.shape[1] for ids_NxM in sets), len(sets[0])
    padded = [np.pad(ids_NxM, ((0, 0), (0, M - ids_NxM.shape[1])), constant_values=-1) for ids_NxM in sets]
    ids_NxKxM, distinct_N = np.stack(padded, axis=1), distinct(sets)
    pair_N = slots.get("pair", np.arange(N))  # slots that name no pair are each one of their own
    block_N = 2 * np.asarray(slots.get("subset", np.zeros(N))) + np.asarray(slots.get("spaced", np.zeros(N)))
    return Names(languages, ids_NxKxM, distinct_N, other_pairs.others(ids_NxKxM, distinct_N, pair_N, block_N))


def distinct(sets: list) -> np.ndarray:
    """[N]: every one of K sets of tokens [N, M] has some, and no two have one in common."""
    distinct_N = np.all([(ids_NxM >= 0).any(axis=1) for ids_NxM in sets], axis=0)
    for first_NxM, second_NxM in itertools.combinations(sets, 2):
        both_NxMxM = (first_NxM[:, :, None] == second_NxM[:, None]) & (first_NxM >= 0)[:, :, None]
        distinct_N &= ~both_NxMxM.any(axis=(1, 2))
    return distinct_N


def unranked_candidates(slots: dict) -> np.ndarray:
    """All that is read, int32 [N, O]: other pairs' identifiers, then the names in all languages, own and others'."""
    pair, names = pair_names(slots), language_names(slots)
    parts = [pair.other_ids_NxJxKxM] + ([names.ids_NxKxM, names.other_ids_NxJxKxM] if names else [])
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype(np.int32)


def readings(log_prob_LxNxO, slots: dict) -> dict:
    """What was read of `unranked_candidates`, in nats, as fields of `lens.SlotReadings`; -inf where there is no name."""
    pair, names = pair_names(slots), language_names(slots)
    shapes = {"other_log_prob_LxNxJx2": pair.other_ids_NxJxKxM.shape}
    if names:
        shapes["name_log_prob_LxNxK"] = names.ids_NxKxM.shape
        shapes["other_name_log_prob_LxNxJxK"] = names.other_ids_NxJxKxM.shape
    fields, start = {}, 0
    for name, shape in shapes.items():
        stop = start + int(np.prod(shape[1:]))
        values = log_prob_LxNxO[:, :, start:stop].reshape(len(log_prob_LxNxO), *shape)
        fields[name], start = log_sum(values), stop
    return fields


def log_sum(log_prob_xM) -> np.ndarray:
    """log sum exp over the last axis; of one number that number bit for bit, of none -inf."""
    top = log_prob_xM.max(axis=-1)
    finite = np.where(np.isneginf(top), 0, top)
    with np.errstate(divide="ignore"):
        return finite + np.log(np.exp(log_prob_xM - finite[..., None]).sum(axis=-1))
