"""How close two languages lie inside the model: MEXA's alignment of parallel items.

From the mathematics of Kargaran et al. 2024 (arXiv 2410.05873).

Letters as in `model/decoder.py`; N items. All states are the raw residual stream after a block, also the last
one's: no layer has been through the model's last norm. (Tools that read Hugging Face's `hidden_states[-1]` compare
a normalised state with raw ones in the last layer; their numbers differ from ours there, and only there.)
"""

import numpy as np

from babel_jax.common.errors import UserError


def _unit(x_NxD):
    """Vectors of length 1 in float64; the zero vector stays zero and is close to nothing."""
    x_NxD = np.asarray(x_NxD, np.float64)
    length_Nx1 = np.linalg.norm(x_NxD, axis=1, keepdims=True)
    return np.divide(x_NxD, length_Nx1, out=np.zeros_like(x_NxD), where=length_Nx1 > 0)


def _rivals(pivot_NxD, other_NxD):
    """[N, N]: item j is a rival of item i where pairing j with i's vector, on either side, is at least as close as i's own.

    Ties are rivals: MEXA asks for strictly more. Equal vectors tie, whatever the rounding of their product.
    """
    cosine_NxN = _unit(pivot_NxD) @ _unit(other_NxD).T
    own_Nx1 = np.diag(cosine_NxN)[:, None] - 1e-12
    rival_NxN = np.maximum(cosine_NxN, cosine_NxN.T) >= own_Nx1
    np.fill_diagonal(rival_NxN, False)
    return rival_NxN


def _without_each(rival_NxN):
    """The score of all N items, and the N scores without one item: `(score, score_N)`.

    An item whose only rival is left out becomes a hit: no cosine has to be computed again.
    """
    rivals_N = rival_NxN.sum(axis=1)
    hit_N = rivals_N == 0
    released_N = rival_NxN[rivals_N == 1].sum(axis=0)
    return hit_N.mean(), (hit_N.sum() - hit_N + released_N) / (len(hit_N) - 1)


def _interval(score: float, score_N):
    """The 95 % interval of a MEXA score, from the scores without each item: a delete-one jackknife.

    The bootstrap cannot be used: an item drawn twice ties with its double and never counts as a hit. Resampling the hits
    would hold the rivals fixed, though one item that is close to everything spoils many at once. The jackknife moves
    both, and its variance errs on the wide side (Efron and Stein 1981; the interval is about 1.3 times too wide where no
    item is special). It is never narrower than Agresti and Coull's interval of a share, which keeps a width where all
    items hit, or none.
    """
    n = len(score_N)
    shrunk = (n * score + 2) / (n + 4)
    variance = max((n - 1) * score_N.var(), shrunk * (1 - shrunk) / (n + 4))
    low, high = shrunk - 1.96 * np.sqrt(variance), shrunk + 1.96 * np.sqrt(variance)
    return float(max(0.0, min(low, score))), float(min(1.0, max(high, score)))


def item_places(item_N, language: str) -> dict:
    """item -> its index, without what has no counterpart (-1)."""
    item_N = np.asarray(item_N)
    known = [(int(item), index) for index, item in enumerate(item_N) if item >= 0]
    place = dict(known)
    if len(place) < len(known):
        double = next(item for item, index in known if place[item] != index)
        raise UserError(f"item {double} occurs twice in '{language}'; keep one slot of each parallel item.")
    return place


def mexa_rows(states_by_language: dict, item_by_language: dict, primary: str) -> list[dict]:
    """MEXA of every other language with the primary one, per layer and averaged over layers (layer -1): the share of items whose
    two vectors are closer (cosine) to each other than to any other item's, strictly, in row and column of the cosine matrix.

    Args:
      states_by_language: language -> sentence vectors [L, N, D] (`sentence_LxNxD` of `forward.measure`).
      item_by_language: language -> item [N]: vectors of two languages with the same item are parallel; -1 has no
        counterpart.
      primary: the language that all others are compared with.

    Returns:
      Measurement rows without run, seed and step; none for a language with fewer than two items of the primary's. The
      option `chance` is 1/N, the most that a random pairing scores on average. Intervals: `_interval`.

    Raises:
      UserError: an item occurs twice in one language (its vectors would be each other's rivals), or the primary misses.
    """
    if primary not in states_by_language:
        raise UserError(f"no sentence vectors of the primary language '{primary}'; give it slots with items.")
    place = {language: item_places(item_by_language[language], language) for language in states_by_language}

    rows = []
    for language, states in states_by_language.items():
        common = sorted(place[primary].keys() & place[language].keys())
        if language == primary or len(common) < 2:
            continue
        pivot_LxNxD = np.asarray(states_by_language[primary])[:, [place[primary][item] for item in common]]
        other_LxNxD = np.asarray(states)[:, [place[language][item] for item in common]]
        scores = [_without_each(_rivals(*pair)) for pair in zip(pivot_LxNxD, other_LxNxD, strict=True)]
        # An item is left out of all layers at once: layers are no independent observations.
        mean = (np.mean([score for score, _ in scores]), np.mean([score_N for _, score_N in scores], axis=0))
        for index, (score, score_N) in enumerate([mean, *scores]):
            low, high = _interval(score, score_N)
            about = dict(probe="alignment", language=language, layer=index or -1, metric="mexa")
            options = {"pooling": "weighted", "primary": primary, "chance": 1 / len(common)}
            numbers = dict(value=float(score), n=len(common), ci_low=low, ci_high=high)
            rows.append(about | numbers | {"options": options})
    return rows
