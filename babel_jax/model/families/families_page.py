"""The page of families, README.md beside this file: what it says of each is written from the tables and from `verified.json`.

tests/golden/verify_families.py measures and writes `verified.json`; nothing of it is written by hand.
"""

import json
from pathlib import Path

from babel_jax.common import files
from babel_jax.model.architecture import Architecture
from babel_jax.model.families import config_keys, rope_keys
from babel_jax.model.families.catalogue import FAMILIES
from babel_jax.model.families.family import Family

PAGE = Path(__file__).with_name("README.md")
RECORD = Path(__file__).with_name("verified.json")
BEGIN, END = "## The families\n", "\n## To add a family\n"
NORMS = {
    "layer": "LayerNorm",
    "layer_plain": "LayerNorm without parameters",
    "rms": "RMSNorm",
    "rms_from_one": "RMSNorm of scale 1 + w",
}
QK_NORMS = {"head": "a norm of each head's queries and keys", "width": "a norm of all queries, another of all keys"}
WIDTH, HEAD_WIDTH, LAYERS = 1024, 64, 12  # of the models whose parts the page names


def block(parts: Architecture) -> str:
    """What the blocks of a model are made of, in words."""
    ropes, windows = {kind.rope for kind in parts.kinds}, [kind.window for kind in parts.kinds]
    words = {
        _where_normed(parts): True,
        "both halves read the block's input": parts.parallel,
        QK_NORMS.get(parts.qk_norm): parts.qk_norm != "none",
        "learned positions": parts.learned_positions,
        f"RoPE{_of_what(parts, ropes)}": ropes != {None},
        "a window": all(windows),
        "a window in some layers": any(windows) and not all(windows),
        f"{'gated' if parts.gated else 'ungated'} FFN with {parts.activation}": True,
        "biases": parts.qkv_bias and parts.attention_out_bias and parts.ffn_bias,
        "biases of queries, keys and values": parts.qkv_bias and not parts.attention_out_bias,
        "capped scores and logits": parts.score_cap and parts.logit_cap,
        "embeddings times sqrt(D)": parts.embedding_scale != 1,
    }
    return ", ".join(phrase for phrase, holds in words.items() if holds)


def _where_normed(parts: Architecture) -> str:
    where = {(True, True): " before and behind each half", (False, True): " behind each half"}
    return NORMS[parts.norm] + where.get((parts.input_norms, parts.output_norms), "")


def _of_what(parts: Architecture, ropes: set) -> str:
    if parts.rope_width < HEAD_WIDTH:
        return " of a part of each head"
    if None in ropes:
        return " in most layers"
    return " of two kinds" if len(ropes) > 1 else ""


def families_table() -> str:
    """A row a family: its block, what its config may say beside sizes, and how far it is from transformers."""
    record = json.loads(RECORD.read_text())
    rows = [
        "| model_type | block | what else config.json may set | logits | streams | counts |",
        "|---|---|---|---|---|---|",
    ]
    for family in FAMILIES:
        parts = block(family.scratch(WIDTH, HEAD_WIDTH, LAYERS))
        settings = ", ".join(f"`{key}`" for key in _settings(family))
        rows.append(f"| `{family.model_type}` | {parts} | {settings} | {_verified(record, family)} |")
    return "\n".join(rows)


def _settings(family: Family) -> list[str]:
    common = {*family.sizes.values(), *rope_keys.ROPE_KEYS}
    return [key for key in family.keys if key not in common]


def _verified(record: dict, family: Family) -> str:
    found = record["families"].get(family.model_type)
    if found is None:
        return "not verified | |"
    deviations = [f"{found[of]['absolute']:.0e} ({found[of]['of_tolerance']:.0%})" for of in ("logits", "residual")]
    return f"{' | '.join(deviations)} | {found['counts_differing']} of {found['counts']}"


def how_verified() -> str:
    record = json.loads(RECORD.read_text())
    allowed = record["tolerance"]
    return (
        f"Verified against transformers {record['transformers']} in {record['dtype']}, with loud random weights and odd shapes: "
        "the largest deviation of logits and of residual streams, in brackets as a part of the tolerance "
        f"({allowed['absolute']:g} + {allowed['relative']:g} of the number), and how many of the counts of active neurons "
        f"differ; greedy continuations of {record['tokens_written']} tokens are equal."
    )


def refused_table() -> str:
    """A row a key that is refused unless it has one of these values."""
    rules = [(rule, "every family that does not read it") for rule in config_keys.ONLY_ANYWHERE.items()]
    rules += [(rule, f"`{family.model_type}`") for family in FAMILIES for rule in family.only.items()]
    where = {}
    for (name, values), place in rules:
        row = f"| `{name}` | {' or '.join(f'`{json.dumps(value)}`' for value in values)} |"
        where.setdefault(row, []).append(place)
    rows = [f"{row} {', '.join(places)} |" for row, places in where.items()]
    return "\n".join(["| key | only as | in |", "|---|---|---|", *rows])


def section() -> str:
    """What the page says of the families."""
    activations = ", ".join(f"`{name}`" for name in config_keys.ACTIVATIONS)
    types = ", ".join(f"`{name}`" for name in rope_keys.TYPES)
    return "\n\n".join(
        [
            families_table(),
            how_verified(),
            f"RoPE may be of type {types}, an activation function {activations}. Other values are refused, and these keys "
            "are read only as:",
            refused_table(),
            "Any other key is refused, too, unless it is null or among those that are known to have no effect "
            "(`config_keys.BOOKKEEPING`, and `idle` of a family).",
        ]
    )


def write() -> None:
    """Writes the page's section anew."""
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    files.write_atomic(PAGE, f"{before}{BEGIN}\n{section()}\n{END}{after}")
