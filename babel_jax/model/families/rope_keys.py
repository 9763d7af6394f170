"""Reading and writing what differs between layers: rotary positions and windows, in the spellings of transformers 4 and 5.

Version 4 wrote `rope_theta` and `rope_scaling` (null: none); version 5 writes all of it as `rope_parameters`. Files that we
write have both. Where both are read and do not agree, the file is refused: versions differ in which of them they believe.
"""

import dataclasses
import math

from babel_jax.common.errors import UserError, quoted
from babel_jax.model.architecture import Architecture, LayerKind, Rope
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families.config_keys import CONFIG, head_width, number, shape, size, wrong

ROPE_KEYS = {"rope_theta": None, "rope_scaling": None, "rope_parameters": None}
OLD, NEW = "rope_scaling", "rope_parameters"
# What each type of RoPE may say beside its type, its theta and how much of a head it turns.
TYPES = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": (
        *("factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale"),
        *("mscale_all_dim", "truncate"),
    ),
}
FULL, SLIDING = "full_attention", "sliding_attention"


def rope(keys: dict, theta: float, theta_key: str = "rope_theta") -> Rope:
    """The rotary positions of all layers; `theta` is the family's, where the file has none."""
    length = size(keys, "max_position_embeddings")
    old, new = _settings(keys, OLD), _settings(keys, NEW)
    said = keys[theta_key] if keys[theta_key] is None else number(keys, theta_key)
    read = {
        name: _rope({"rope_theta": theta if said is None else said} | settings, length, name)
        for name, settings in ((OLD, old), (NEW, new))
        if settings is not None
    }
    if not read:
        return _rope({"rope_theta": theta if said is None else said}, length, OLD)
    disagree = len(set(read.values())) > 1 or (said is not None and said != next(iter(read.values())).theta)
    if disagree:
        raise UserError(
            f"the model's config says one thing in {NEW} and another in {theta_key} and {OLD}; delete what does not hold from "
            f"{CONFIG}."
        )
    return next(iter(read.values()))


def _settings(keys: dict, name: str) -> dict | None:
    """An object of settings, or None; of a null among them nothing is left."""
    settings = keys[name]
    if settings is None or settings == {}:
        return None
    if not isinstance(settings, dict):
        raise UserError(
            f"the model's config has {name} = {quoted(settings)}; check {CONFIG}: it is an object, or null."
        )
    return {key: value for key, value in settings.items() if value is not None}


def _rope(settings: dict, length: int, where: str) -> Rope:
    kind = settings.get("rope_type", settings.get("type", "default"))
    if not isinstance(kind, str) or kind not in TYPES:
        raise UserError(
            f"the model's config has a RoPE of type {quoted(kind)} and this decoder does {', '.join(TYPES)} only; convert "
            "another."
        )
    known = ("rope_type", "type", "rope_theta", "partial_rotary_factor", *TYPES[kind])
    if more := sorted(settings.keys() - known):
        raise UserError(
            f"the model's config has {more[0]} in {where}, which a RoPE of type {kind} does not have here; if it is of no "
            f"effect, delete it from {CONFIG}."
        )
    for name, only in (("truncate", True), ("partial_rotary_factor", 1.0)):
        if settings.get(name, only) != only:
            raise UserError(
                f"the model's config has {name} = {quoted(settings[name])} in {where} and this decoder does {quoted(only)} only; "
                "convert another."
            )
    theta = number(settings, "rope_theta", above=1)
    if kind == "default":
        return Rope(theta)
    if kind == "linear":
        return Rope(theta, "linear", number(_with(settings, "factor", where), "factor"))
    settings = {"original_max_position_embeddings": length} | settings
    original = size(settings, "original_max_position_embeddings")
    if kind == "llama3":
        for name in ("factor", "low_freq_factor", "high_freq_factor"):
            _with(settings, name, where)
        slow, fast = "low_freq_factor", "high_freq_factor"
    else:
        settings = {"factor": length / original, "beta_fast": 32.0, "beta_slow": 1.0} | settings
        slow, fast = "beta_slow", "beta_fast"
    factor, slow = number(settings, "factor"), number(settings, slow)
    attention_factor = _attention_factor(settings, factor) if kind == "yarn" else 1.0
    return Rope(theta, kind, factor, original, slow, number(settings, fast, above=slow), attention_factor)


def _with(settings: dict, name: str, where: str) -> dict:
    if name not in settings:
        raise UserError(f"the model's config lacks {name} in {where}; check that {CONFIG} is this model's, and whole.")
    return settings


def _attention_factor(settings: dict, factor: float) -> float:
    """YaRN's, as transformers computes it where the config does not say it: 0.1 ln(factor) + 1 (arXiv:2309.00071), or
    DeepSeek's quotient of two of that form."""
    if "attention_factor" in settings:
        return number(settings, "attention_factor")

    def of(scale: float) -> float:
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0

    if "mscale" in settings and "mscale_all_dim" in settings:
        return of(number(settings, "mscale")) / of(number(settings, "mscale_all_dim"))
    return of(1.0)


def parameters(rope: Rope) -> dict:
    """A RoPE as `rope_parameters` has it."""
    if rope.scaling == "none":
        return {"rope_type": "default", "rope_theta": rope.theta}
    scaled = {"rope_type": rope.scaling, "rope_theta": rope.theta, "factor": rope.factor}
    if rope.scaling == "linear":
        return scaled
    scaled["original_max_position_embeddings"] = rope.original_length
    if rope.scaling == "llama3":
        return scaled | {"low_freq_factor": rope.slow_turns, "high_freq_factor": rope.fast_turns}
    turns = {"beta_slow": rope.slow_turns, "beta_fast": rope.fast_turns}
    return scaled | turns | {"attention_factor": rope.attention_factor}


def scaling(rope: Rope) -> dict | None:
    """A RoPE as `rope_scaling` has it, beside `rope_theta`."""
    own = {name: value for name, value in parameters(rope).items() if name != "rope_theta"}
    return None if rope.scaling == "none" else own


def their_rope(config: DecoderConfig) -> dict:
    """The keys that `rope` reads."""
    rope = next((kind.rope for kind in config.architecture.kinds if kind.rope), Rope())
    return {"rope_theta": rope.theta, "rope_scaling": scaling(rope), "rope_parameters": parameters(rope)}


# --- a part of each head -----------------------------------------------------------------------------------------------------


def turned(keys: dict, default: float, names: tuple[str, ...] = ("partial_rotary_factor",)) -> tuple[int, dict]:
    """How many numbers of each head are turned, and the keys without it in the settings of RoPE.

    `default`: the share of a head that is turned where the file says nothing; `names`: what it is called beside the settings.
    """
    settings = {name: keys[name] for name in (OLD, NEW) if isinstance(keys[name], dict)}
    places = [*((keys, name) for name in names), *((place, "partial_rotary_factor") for place in settings.values())]
    shares = {number(place, name) for place, name in places if place.get(name) is not None} or {default}
    if len(shares) > 1 or max(shares) > 1:
        raise UserError(
            f"the model's config has {' or '.join(names)} = {', '.join(map(str, sorted(shares)))}; leave one of them in "
            f"{CONFIG}, of at most 1."
        )
    rest = {
        name: {key: value for key, value in place.items() if key != "partial_rotary_factor"}
        for name, place in settings.items()
    }
    (share,) = shares
    width = int(head_width(shape(keys)) * share)
    if not width:
        raise UserError(f"the model's config has {names[0]} = {share}, which turns nothing; check {CONFIG}.")
    return width, keys | rest


def share_of_heads(width: int, whole: int) -> float:
    """The share of a head that `turned` reads as `width`: its product with the whole head is rounded down."""
    share = width / whole
    return share if int(whole * share) == width else math.nextafter(share, 2)


# --- a RoPE for layers with a window, and another for the rest -----------------------------------------------------------------


def ropes_by_type(keys: dict, theta: dict[str, float], theta_keys: dict[str, str]) -> dict[str, Rope]:
    """The RoPE of each type of layer (OLMo 3, Gemma 3); in version 4 `rope_scaling` is of the layers without a window.

    `theta`, `theta_keys`: the family's by type of layer, and what version 4 calls it.
    """
    new = _settings(keys, NEW)
    if new is not None and (strange := sorted(new.keys() - {FULL, SLIDING})):
        raise UserError(
            f"the model's config has {strange[0]} in {NEW}; check {CONFIG}: in this family it holds {FULL} and {SLIDING}, each "
            "with settings of its own."
        )
    found = {}
    for kind in (FULL, SLIDING):
        mine = {key: value for key, value in keys.items() if key not in (OLD, NEW)}
        mine |= {OLD: keys[OLD] if kind == FULL else None, NEW: (new or {}).get(kind)}
        found[kind] = rope(mine, theta[kind], theta_key=theta_keys[kind])
    return found


def kinds_by_type(
    keys: dict, default: list[str], theta: dict[str, float], theta_keys: dict[str, str]
) -> list[LayerKind]:
    """The kind of each layer, where its type decides its window and its RoPE; arguments as of `layer_types`, `ropes_by_type`."""
    types, ropes = layer_types(keys, len(default), default), ropes_by_type(keys, theta, theta_keys)
    width = window(keys, types)
    return [LayerKind(width if kind == SLIDING else 0, ropes[kind]) for kind in types]


def their_ropes_by_type(config: DecoderConfig, theta_keys: dict[str, str]) -> dict:
    """The keys that `ropes_by_type` reads."""
    ropes = {SLIDING if kind.window else FULL: kind.rope or Rope() for kind in config.architecture.kinds}
    ropes = {kind: ropes.get(kind) or next(iter(ropes.values())) for kind in (FULL, SLIDING)}
    thetas = {theta_keys[kind]: ropes[kind].theta for kind in (SLIDING, FULL)}
    by_type = {kind: parameters(ropes[kind]) for kind in ropes}
    return thetas | {"rope_scaling": scaling(ropes[FULL]), "rope_parameters": by_type}


# --- layers -----------------------------------------------------------------------------------------------------------------


def every(n: int, layers: int) -> list[str]:
    """Types of layers of which all have a window but every n-th."""
    return [SLIDING if (layer + 1) % n else FULL for layer in range(layers)]


def layer_types(keys: dict, layers: int, default: list[str]) -> list[str]:
    """`layer_types`, a name a layer; `default` where there is none."""
    types = keys["layer_types"]
    if types is None:
        return default
    if not isinstance(types, list) or len(types) < layers or any(kind not in (FULL, SLIDING) for kind in types):
        raise wrong(keys, "layer_types", f"a list of {FULL} and {SLIDING}, one a layer")
    return types[:layers]


def window(keys: dict, types: list[str]) -> int:
    """`sliding_window`, which must be there if a layer has one."""
    if SLIDING not in types:
        return 0
    if keys["sliding_window"] is None:
        raise UserError(
            f"the model's config has layers of {SLIDING} and no sliding_window; check that {CONFIG} is this model's, and whole."
        )
    return size(keys, "sliding_window")


def of_kinds(keys: dict, kind_by_layer: list[LayerKind], architecture: Architecture, turned: int = 0) -> DecoderConfig:
    """A model of that architecture and of the sizes that the keys say; its layers are of these kinds, one for all or one each.
    Rotary positions turn so many numbers of each head (0: all)."""
    sizes, kinds = shape(keys), tuple(dict.fromkeys(kind_by_layer))
    turned = turned or head_width(sizes)
    if turned % 2:
        raise UserError(
            f"the model's config has heads of which {turned} numbers are turned, and they are turned in pairs; check {CONFIG}."
        )
    parts = {"kinds": kinds, "rope_width": turned if any(kind.rope for kind in kinds) else 0}
    if len(kinds) > 1:
        parts["kind_of_layer"] = tuple(map(kinds.index, kind_by_layer))
    return DecoderConfig(**sizes, architecture=dataclasses.replace(architecture, **parts))


def kind_by_layer(config: DecoderConfig) -> list[LayerKind]:
    """The kind of each layer."""
    parts = config.architecture
    return [parts.kinds[kind] for kind in parts.kind_of_layer or (0,) * config.layers]


def their_windows(config: DecoderConfig) -> dict:
    """The keys that `layer_types` and `window` read."""
    windows = [kind.window for kind in kind_by_layer(config)]
    return {
        "sliding_window": next(filter(None, windows), None),
        "layer_types": [SLIDING if window else FULL for window in windows],
    }
