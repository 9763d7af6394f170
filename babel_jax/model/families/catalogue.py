"""The families that are read and written, and which of them a config is of."""

import dataclasses

from babel_jax.common.errors import UserError, quoted, unknown_name
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families.config_keys import CONFIG, NO_TOKENS, complete
from babel_jax.model.families.family import Family
from babel_jax.model.families.gemma import GEMMA, GEMMA2, GEMMA3
from babel_jax.model.families.gpt2 import GPT2
from babel_jax.model.families.gpt_neox import GPT_NEOX
from babel_jax.model.families.llama import LLAMA, MISTRAL, SMOLLM3
from babel_jax.model.families.olmo import OLMO, OLMO2, OLMO3
from babel_jax.model.families.qwen import QWEN2, QWEN3
from babel_jax.model.families.starcoder2 import STARCODER2

# A model that several of them could hold is written as the first of these.
FAMILIES = (
    GPT2,
    LLAMA,
    MISTRAL,
    SMOLLM3,
    GPT_NEOX,
    QWEN2,
    QWEN3,
    OLMO,
    OLMO2,
    OLMO3,
    STARCODER2,
    GEMMA,
    GEMMA2,
    GEMMA3,
)
BY_TYPE = {family.model_type: family for family in FAMILIES}
# Why some that are asked for often are not read.
NOT_READ = {
    "bloom": "its ALiBi positions are not done here",
    "mpt": "its ALiBi positions are not done here",
    "apertus": "its activation function xIELU is not done here",
    "gemma3": "it reads images too; save its language model as gemma3_text",
}
EXPERTS = ("moe", "mixtral", "experts")


def family_of(model_type: str) -> Family:
    """The family of that name.

    Raises:
      UserError: it is not among those that are read, which the message names.
    """
    if model_type not in BY_TYPE:
        raise unknown_name("family", model_type, BY_TYPE)
    return BY_TYPE[model_type]


def read_config(hf_config: dict) -> tuple[Family, DecoderConfig]:
    """The family and the shape of the model that a config.json describes.

    Raises:
      UserError: it is of another family, comes with code of its own or with quantised weights, or says something that would
        change the computation and is not known or not done here.
    """
    family = _named(hf_config)
    if hf_config.get("auto_map"):
        raise UserError(
            f"the model comes with code of its own (auto_map), which is never run here; if transformers' own {family.model_type} "
            f"computes the same, delete auto_map from {CONFIG}."
        )
    if hf_config.get("quantization_config") or hf_config.get("compression_config"):
        raise UserError("the model's weights are quantised; give the model in float32, float16 or bfloat16.")
    config = {name: value for name, value in hf_config.items() if name != "auto_map"}
    return family, family.read(complete(config, family.keys, family.only, family.idle))


def _named(hf_config: dict) -> Family:
    model_type = hf_config.get("model_type")
    if isinstance(model_type, str) and model_type in BY_TYPE:
        return BY_TYPE[model_type]
    why = NOT_READ.get(model_type) if isinstance(model_type, str) else None
    if any(name in str(model_type) for name in EXPERTS) or any("experts" in name for name in hf_config):
        why = "layers of experts are not done here"
    raise UserError(
        f"the model's config has model_type = {quoted(model_type)}{f' ({why})' if why else ''}; these are read: "
        f"{', '.join(BY_TYPE)}."
    )


def of(config: DecoderConfig) -> Family:
    """The first family whose config.json can say all of this: what it writes is read back as the same.

    Raises:
      UserError: there is none; the message names the nearest and where it differs.
    """
    shape = _shape(config)
    missed = {}
    for family in FAMILIES:
        try:
            read = read_config(written(family, config))[1]
        except UserError as error:
            missed[family.model_type] = [str(error)]
            continue
        if read == shape:
            return family
        missed[family.model_type] = _differences(read, shape)
    nearest = min(missed, key=lambda name: len(missed[name]))
    raise UserError(
        f"no family of Hugging Face has a model such as this one; the nearest is {nearest}, but for {', '.join(missed[nearest])}."
    )


def _shape(config: DecoderConfig) -> DecoderConfig:
    """The config without what concerns training and computing alone."""
    plain = {field.name: field.default for field in dataclasses.fields(DecoderConfig)}
    return dataclasses.replace(
        config, **{name: plain[name] for name in ("frozen_rows", "frozen_std", "dtype", "remat", "attention")}
    )


def _differences(read: DecoderConfig, wanted: DecoderConfig) -> list[str]:
    return [
        f"{field.name} = {quoted(getattr(one, field.name))}"
        for one, other in ((wanted, read), (wanted.architecture, read.architecture))
        for field in dataclasses.fields(one)
        if field.name != "architecture" and getattr(one, field.name) != getattr(other, field.name)
    ]


def written(family: Family, config: DecoderConfig) -> dict:
    """The config.json of a model of a family."""
    about = {"model_type": family.model_type, "architectures": [family.architecture]}
    return about | family.write(config) | NO_TOKENS | {"dtype": "float32"}
