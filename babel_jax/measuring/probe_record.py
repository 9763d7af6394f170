"""What a probe of one run read and how, as JSON beside its measurements: what its page says first, and names of its lens map.

`probed.json` of a run's folder:

| key | meaning |
|---|---|
| `model` | `family` (null: of none that Hugging Face has), `layers`, `width`, `heads`, `kv_heads`, `ffn_width`, `vocab_size`, … |
| `primary` | the language that others are compared with |
| `texts` | by language: `rows`, `tokens` (that count), `bytes` (null: not known), `prompts`, `pairs`, `pair_N` |
| `texts….pairs` | [{`pair`, `primary`, `new` (either name, or the first token that stands for it), `prompts`}] |
| `texts….pair_N` | the pair of each prompt, in the order of the arrays beside it; -1 where no token distinguishes the languages |
| `about` | `messages`: what the texts lack; without a corpus also what was read of which files (`loose_texts.py`) |
| `tasks` | by language and task, how many questions are asked, or sentences looked for |
| `options` | what was asked for: `layers`, `active`, `definitions`, `tuned_steps`, `interventions`, `draws`, … |
"""

from collections.abc import Callable

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.material import Asked, Material, Parallel
from babel_jax.measuring.reading import Settings
from babel_jax.model import flops
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.probes import lens
from babel_jax.probes.prompts import SIDES, identifier_set

NAME = "probed.json"
OPTIONS = ("layers", "active", "definitions", "tuned_steps", "interventions", "draws", "threshold_scope", "restore")
SHAPE = ("layers", "width", "heads", "kv_heads", "ffn_width", "vocab_size", "max_length")


def record(model: DecoderConfig, material: Material, options: Settings) -> dict:
    """The content of `probed.json`; the same for all checkpoints of a run."""
    return {
        "model": {"family": _family(model)}
        | {name: getattr(model, name) for name in SHAPE}
        | {"matmul_parameters": flops.matmul_parameters(model)},
        "primary": material.primary,
        "texts": {language: _texts(material, language) for language in sorted({*material.heldout, *material.slots})},
        "tasks": {
            language: {name: _questions(task) for name, task in tasks.items()}
            for language, tasks in material.tasks_in.items()
            if material.problems is None  # those of the embedded world are asked by its studies alone
        },
        "options": {name: getattr(options, name) for name in OPTIONS},
        "about": material.about,
    }


def _questions(task: Asked) -> int:
    return len(task.length_N[task.language]) if isinstance(task, Parallel) else len(task.transfer_Q)


def _family(model: DecoderConfig) -> str | None:
    try:
        return catalogue.of(model).model_type
    except UserError:  # a shape that only runs of ours have
        return None


def _texts(material: Material, language: str) -> dict:
    rows, slots = material.heldout.get(language, {}), material.slots.get(language, {})
    counted_NxT = np.asarray(rows.get("loss", ()))
    has_bytes = "bytes" in rows
    return {
        "rows": len(counted_NxT),
        "tokens": int(counted_NxT.sum()),
        "bytes": int((rows["bytes"] * counted_NxT).sum()) if has_bytes else None,
    } | _prompts(slots, material.token_text, _identifiers(material, language))


def _identifiers(material: Material, language: str) -> list[dict[str, str]]:
    """The two identifiers of each pair that a language's prompts are of, where the texts' reader says them."""
    of = (each for each in material.about.get("pairs", {}).values() if language in each["prompts"])
    return [dict(zip(SIDES, name.split("/", 1), strict=True)) for name in next(of, {"names": []})["names"]]


def _prompts(slots: dict, token_text: Callable[[int], str] | None, identifiers: list[dict[str, str]]) -> dict:
    if "pair" not in slots:
        return {"prompts": len(slots.get("position", ())), "pairs": [], "pair_N": []}
    whole = "primary_sequence" in slots
    kept_N, pair_N = lens.distinguished(slots, whole), np.asarray(slots["pair"])
    first_N = {side: (slots[f"{side}_sequence"] if whole else identifier_set(slots, side))[:, 0] for side in SIDES}
    pairs = []
    for pair in np.unique(pair_N[kept_N]).tolist():
        (places,) = np.nonzero(kept_N & (pair_N == pair))
        ids = {side: int(first_N[side][places[0]]) for side in SIDES}
        names = {side: token_text(token) if token_text else f"#{token}" for side, token in ids.items()}
        names = identifiers[pair] if pair < len(identifiers) else names
        pairs.append({"pair": pair, **names, "prompts": len(places)})
    return {"prompts": len(pair_N), "pairs": pairs, "pair_N": np.where(kept_N, pair_N, -1).tolist()}
