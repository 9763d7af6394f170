"""The lens grid: what each layer of each checkpoint would write at single identifiers, for the page's explorer.

Letters as in `model/decoder.py`; C checkpoints, N slots, Q problems.
"""

from collections.abc import Sequence

import numpy as np

from babel_jax.common.material import Material
from babel_jax.measuring.programs import answer_rows

GRID_PROBLEMS = 6
GRID_TOP = 5  # most probable tokens at every layer and checkpoint
GRID_TOKENS = 12  # tokens that are followed through all layers and checkpoints


def grid_slots(model, material: Material) -> dict[str, np.ndarray]:
    """All identifier places of a few problems, half of which need the primary's knowledge (all, where none does or all do).

    Problems whose identifiers differ between the languages come first: at others the languages cannot be distinguished.

    Returns:
      `tokens` [N, T], `position` [N] (predicts the identifier), `new_id`, `primary_id` [N] (the right one in either
      language), `problem` [N], `transfer` [N] (the new language's corpus lacks its word's meaning).
    """
    problems = material.problems
    rows, problem_N, transfer_N = answer_rows(model, problems, material.new)
    primary_N = answer_rows(model, problems, material.primary)[0]["right"][:, 0]
    differ_Q = np.ones(len(problems.length_Q), bool)
    differ_Q[problem_N[primary_N == rows["right"][:, 0]]] = False
    halves = [np.flatnonzero(problems.transfer_Q), np.flatnonzero(~problems.transfer_Q)]
    halves = [half for half in halves if len(half)]
    chosen = [half[np.argsort(~differ_Q[half], kind="stable")][: GRID_PROBLEMS // len(halves)] for half in halves]
    kept_N = np.isin(problem_N, np.concatenate(chosen))
    return {
        "tokens": rows["tokens"][kept_N],
        "position": rows["position"][kept_N],
        "new_id": rows["right"][kept_N, 0],
        "primary_id": primary_N[kept_N],
        "problem": problem_N[kept_N],
        "transfer": transfer_N[kept_N],
    }


def lens_grid(steps, probability_CxLxNxV, slots: dict, material: Material, names: Sequence[str] | None = None) -> dict:
    """What the page's explorer shows, as compact JSON; probabilities in thousandths.

    Returns:
      primary, new, steps [C], layers (their number); prompts: [{problem, transfer (it needs the primary's knowledge),
      tokens: the right program's ids in the new language}]; slots: [{problem, position (its token predicts the
      identifier), transfer (of its word), primary_id, new_id, top: ids [C][L][5], most probable first,
      top_probability, tokens: `default_tokens`, probability: [C][L][their number]}]; names: {id: text} of all of these,
      empty where no names are known.
    """
    entries = []
    for n in range(len(slots["problem"])):
        probability_CxLxV = probability_CxLxNxV[:, :, n]
        top_CxLx5 = np.argsort(-probability_CxLxV, axis=-1, kind="stable")[..., :GRID_TOP]
        tokens = default_tokens(probability_CxLxV)
        entries.append(
            {key: slots[key][n].item() for key in ("problem", "position", "transfer", "primary_id", "new_id")}
            | {
                "top": top_CxLx5.tolist(),
                "top_probability": _thousandths(np.take_along_axis(probability_CxLxV, top_CxLx5, axis=-1)),
                "tokens": tokens,
                "probability": _thousandths(probability_CxLxV[..., tokens]),
            }
        )
    prompts = _prompts(material, np.unique(slots["problem"]).tolist())
    used = {token for prompt in prompts for token in prompt["tokens"]}
    for slot in entries:
        used |= {slot["primary_id"], slot["new_id"], *slot["tokens"], *np.unique(slot["top"]).tolist()}
    return {
        "primary": material.primary,
        "new": material.new,
        "steps": [int(step) for step in steps],
        "layers": probability_CxLxNxV.shape[1],
        "prompts": prompts,
        "slots": entries,
        "names": {} if names is None else {str(token): names[token] for token in sorted(used)},
    }


def _prompts(material: Material, chosen: list[int]) -> list[dict]:
    """The right programs of the chosen problems, as ids in the new language."""
    problems, prompts = material.problems, []
    for q in chosen:
        prompt_T = problems.prompt_QxT[material.new][q, : problems.length_Q[q]]
        ids = [*prompt_T.tolist(), *problems.answer_QxA[material.new][q].tolist()]
        prompts.append({"problem": q, "transfer": bool(problems.transfer_Q[q]), "tokens": ids})
    return prompts


def default_tokens(probability_CxLxV) -> list[int]:
    """The tokens that rank first in any layer of any checkpoint, the most frequent ones first; at most `GRID_TOKENS`."""
    first, count = np.unique(probability_CxLxV.argmax(axis=-1), return_counts=True)
    return first[np.argsort(-count, kind="stable")][:GRID_TOKENS].tolist()


def _thousandths(probability) -> list:
    return np.rint(1000 * np.asarray(probability, np.float64)).astype(int).tolist()
