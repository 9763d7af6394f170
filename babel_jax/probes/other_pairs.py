"""The control of every number of the working language: other pairs' identifiers at the same prompts.

A layer may prefer the primary's word whatever the prompt asks for: then the primary's share says what that layer prefers, not
that it thinks of this concept in the primary's words. So at each slot the identifiers of other pairs are read too. They come
as the right ones do: from slots of the same subset and of the same form (with or without the space before them in the first
token), and weighed so that, over all slots, each pair's identifiers count as often among the others as among the right ones.
What is the sum of something of the prompt and something of the identifiers is then the same on both sides, and the *concept
share*, the right pair's number minus the others', is what is left: 0 where a layer only likes certain words or one language.
Left out are identifiers with a token of the slot's own, which would be right in part. Letters: N slots, J other pairs, U
distinct identifiers (columns), L layers, K languages, M tokens of a set.
"""

import dataclasses
import functools

import numpy as np

from babel_jax.common import statistics

OTHERS = 16  # other pairs a slot, at most: chosen once and for all, every one by as many others
ROUNDS = 1000  # of balancing; it has converged long before, unless one pair has more than half of the slots


@dataclasses.dataclass(frozen=True, eq=False)
class Others:
    """Whose identifiers are read at each slot besides its own.

    Attributes:
      slot_NxJ: a slot that has these identifiers as its own; -1 where there are no more.
      column_N: the number of the slot's own identifiers; -1: it is not read.
      block_U: of the identifiers; count_U: how many slots have them as their own and are compared with others.
      chosen_UxJ: the numbers of the other identifiers, -1: none; weight_UxJ: of sum 1 over J, or 0 where there are no others.
      solve_UxU: solves for how much each column's identifiers are liked, see `concept_parts`.
    """

    slot_NxJ: np.ndarray
    column_N: np.ndarray
    block_U: np.ndarray
    count_U: np.ndarray
    chosen_UxJ: np.ndarray
    weight_UxJ: np.ndarray
    solve_UxU: np.ndarray

    @property
    def compared_N(self) -> np.ndarray:
        """True where a slot has other pairs to be compared with."""
        return (self.slot_NxJ >= 0).any(axis=1)

    @property
    def weight_NxJ(self) -> np.ndarray:
        return np.where(self.compared_N[:, None], self.weight_UxJ[self.column_N], 0)

    @property
    def mass_UxJ(self) -> np.ndarray:
        """The weights of all slots with the same identifiers together."""
        return self.count_U[:, None] * self.weight_UxJ


def others(ids_NxKxM, kept_N, pair_N, block_N) -> Others | None:
    """Other pairs for each slot; None where no slot has any.

    Args:
      ids_NxKxM: the tokens that stand for each slot's identifier in K languages, -1 padded.
      kept_N: slots that are read at all; the others neither have nor are other pairs.
      pair_N: of each slot; block_N: slots of different blocks do not exchange identifiers.
    """
    arrays = [np.ascontiguousarray(part, np.int64) for part in (ids_NxKxM, kept_N, pair_N, block_N)]
    return _others(*((part.shape, part.tobytes()) for part in arrays))


@functools.lru_cache(maxsize=8)  # all checkpoints of a run share their slots
def _others(*arrays) -> Others | None:
    ids_NxKxM, kept_N, pair_N, block_N = (np.frombuffer(data, np.int64).reshape(shape) for shape, data in arrays)
    place_R = np.flatnonzero(kept_N)
    if not len(place_R):
        return None
    about_RxA = np.column_stack([block_N, pair_N, np.sort(ids_NxKxM, axis=2).reshape(len(kept_N), -1)])[place_R]
    about_UxA, first_U, column_R = np.unique(about_RxA, axis=0, return_index=True, return_inverse=True)
    column_R, count_U = column_R.reshape(-1), np.bincount(column_R.reshape(-1))
    same_block, same_pair = (about_UxA[:, None, part] == about_UxA[None, :, part] for part in (0, 1))
    chosen_UxJ = _chosen(same_block & ~same_pair & ~_overlap(about_UxA[:, 2:]))
    if not chosen_UxJ.shape[1]:
        return None
    count_U = np.where((chosen_UxJ >= 0).any(axis=1), count_U, 0)
    weight_UxJ = _balanced(chosen_UxJ, count_U)
    column_N = np.full(len(kept_N), -1)
    column_N[place_R] = column_R
    other_NxJ = np.where(column_N[:, None] >= 0, chosen_UxJ[column_N], -1)
    slot_NxJ = np.where(other_NxJ >= 0, place_R[first_U][other_NxJ], -1)
    solve_UxU = _solver(chosen_UxJ, weight_UxJ, count_U)
    return Others(slot_NxJ, column_N, about_UxA[:, 0], count_U, chosen_UxJ, weight_UxJ, solve_UxU)


def _overlap(ids_UxA) -> np.ndarray:
    """[U, U]: whether two columns have a token in common."""
    tokens, place_UxA = np.unique(ids_UxA, return_inverse=True)
    has_UxV = np.zeros((len(ids_UxA), len(tokens)), np.float32)
    np.put_along_axis(has_UxV, place_UxA.reshape(ids_UxA.shape), 1, axis=1)
    has_UxV[:, tokens < 0] = 0
    return has_UxV @ has_UxV.T > 0


def _chosen(allowed_UxU) -> np.ndarray:
    """[U, J]: of each column the next allowed ones in one shuffled circle, -1 where there are no more; J is at most OTHERS.

    Around a circle each column is chosen as often as it chooses, but for what is not allowed.
    """
    U = len(allowed_UxU)
    place_U = np.random.default_rng(0).permutation(U)
    ahead_UxU = np.where(allowed_UxU, (place_U - place_U[:, None]) % U, U)
    J = min(OTHERS, int(allowed_UxU.sum(axis=1).max()))
    chosen_UxJ = np.argsort(ahead_UxU, axis=1, kind="stable")[:, :J]
    return np.where(np.take_along_axis(ahead_UxU, chosen_UxJ, axis=1) < U, chosen_UxJ, -1)


def _balanced(chosen_UxJ, count_U) -> np.ndarray:
    """Weights [U, J], of sum 1 over J, with which each column counts `count_U` times among the others.

    Rows and columns are scaled in turn (iterative proportional fitting), a row at last. Where no such weights exist, one pair
    having more than half of the slots, columns come as near as they can.
    """
    given_UxJ = chosen_UxJ >= 0
    weight_UxJ = np.where(given_UxJ, count_U[chosen_UxJ], 0).astype(np.float64)
    for _ in range(ROUNDS):
        weight_UxJ = statistics.ratio(weight_UxJ, weight_UxJ.sum(axis=1, keepdims=True))
        weight_UxJ[~given_UxJ] = 0
        used_U = np.bincount(chosen_UxJ[given_UxJ], (count_U[:, None] * weight_UxJ)[given_UxJ], minlength=len(count_U))
        scale_U = np.where(used_U > 0, count_U / np.where(used_U > 0, used_U, 1), 1)
        if np.abs(scale_U - 1).max() < 1e-13:
            return weight_UxJ
        weight_UxJ = weight_UxJ * scale_U[chosen_UxJ]
    weight_UxJ = statistics.ratio(weight_UxJ, weight_UxJ.sum(axis=1, keepdims=True))
    return np.where(given_UxJ, weight_UxJ, 0)


def _solver(chosen_UxJ, weight_UxJ, count_U) -> np.ndarray:
    """The inverse of the normal equations of values a_n + b_c once a_n is eliminated; b is known up to a constant a block."""
    U = len(count_U)
    weight_UxU = np.zeros((U, U))
    row_UxJ = np.broadcast_to(np.arange(U)[:, None], chosen_UxJ.shape)
    given_UxJ = chosen_UxJ >= 0
    weight_UxU[row_UxJ[given_UxJ], chosen_UxJ[given_UxJ]] = weight_UxJ[given_UxJ]
    used_U = count_U @ weight_UxU
    return np.linalg.pinv(np.diag(used_U) - weight_UxU.T @ (count_U[:, None] * weight_UxU), rcond=1e-9, hermitian=True)


def concept_parts(right_LxN, other_LxNxJ, table: Others) -> tuple:
    """((others' numerator, denominator), (concept share's numerator, denominator)), [L, N] each.

    The ratios of their sums over slots are the others' number and the right one's minus it, over the slots that are compared.
    Each slot's others are written as a_n + b_c, of the prompt and of its *own* identifiers, as they do among others' prompts
    (least squares over all prompts and others). That leaves the sums as they are, and makes sums over *drawn* slots what they
    would be if a drawn pair brought its identifiers along as one of the others and all were balanced again: what a layer likes
    to write whatever it is asked for then widens no interval, for it is on both sides of the difference.

    Args:
      right_LxN: the slot's number with its own identifiers; other_LxNxJ: with the others' (any number where there is none).
    """
    compared_N, right_LxN = table.compared_N, np.asarray(right_LxN, np.float64)
    given_UxJ = table.chosen_UxJ >= 0
    other_LxNxJ = np.where(table.slot_NxJ >= 0, other_LxNxJ, 0).astype(np.float64)
    mean_LxUxJ = _means(other_LxNxJ, table)
    surplus_LxUxJ = table.mass_UxJ * (mean_LxUxJ - (mean_LxUxJ * table.weight_UxJ).sum(axis=2, keepdims=True))
    liked_LxU = _by_column(surplus_LxUxJ, table) @ table.solve_UxU.T
    beside_LxU = (np.where(given_UxJ, liked_LxU[:, table.chosen_UxJ], 0) * table.weight_UxJ).sum(axis=2)
    moved_LxU = liked_LxU - beside_LxU
    # The mean over a block is 0 already where its weights are balanced.
    share_UxU = (table.block_U[:, None] == table.block_U) * table.count_U
    moved_LxU -= moved_LxU @ np.nan_to_num(statistics.ratio(share_UxU, share_UxU.sum(axis=1, keepdims=True))).T
    other_LxN = (other_LxNxJ * table.weight_NxJ).sum(axis=2) + moved_LxU[:, table.column_N]
    ones_LxN = np.broadcast_to(compared_N, other_LxN.shape).astype(np.float64)
    return (np.where(compared_N, other_LxN, 0), ones_LxN), (np.where(compared_N, right_LxN - other_LxN, 0), ones_LxN)


def _means(other_LxNxJ, table: Others) -> np.ndarray:
    """[L, U, J]: the means over the slots with the same identifiers of their own."""
    L, N, J = other_LxNxJ.shape
    values_MxN = np.moveaxis(other_LxNxJ, 1, 2).reshape(-1, N)[:, table.compared_N]
    sums_MxU = statistics.cluster_sums(values_MxN, table.column_N[table.compared_N], len(table.count_U))
    return np.moveaxis((sums_MxU / np.maximum(table.count_U, 1)).reshape(L, J, -1), 1, 2)


def _by_column(values_LxUxJ, table: Others) -> np.ndarray:
    """[L, U]: sums over all places in which a column is one of the others."""
    given_UxJ = table.chosen_UxJ >= 0
    U = len(table.count_U)
    return np.stack(
        [np.bincount(table.chosen_UxJ[given_UxJ], values[given_UxJ], minlength=U) for values in values_LxUxJ]
    )
