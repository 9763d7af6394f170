"""What a study of texts has to measure with, and what that can show: said before it starts."""

from collections.abc import Iterator

import numpy as np

from babel_jax.common.material import Material
from babel_jax.languages import registry
from babel_jax.study.plan import Study

# Where pairs are fewer, intervals over them are too narrow: in simulations 5 to 8 cover 88 to 91 % instead of 95.
ENOUGH_PAIRS = 16


def lines(study: Study) -> Iterator[str]:
    """A line for each language, and what each new language's scores are; none of the embedded world, whose config says it,
    and none where no corpus is named.

    Raises:
      UserError: the corpus is not there, or not of these languages.
    """
    if study.config.kind == "organism" or not study.config.corpus:
        return
    said = set()
    for new, material in study.materials(study.config.seeds[0]).items():
        for language in (study.config.primary, new):
            if (text := _texts(material, language)) not in said:
                yield text
            said.add(text)
        yield from _scores(material, new)


def _texts(material: Material, language: str) -> str:
    rows, slots = material.heldout[language]["tokens"], material.slots[language]
    return (
        f"{registry.title(language)}: {len(rows)} held-out rows of {rows.shape[1] - 1} tokens; {len(slots['position'])} prompts "
        f"of {len(np.unique(slots['pair']))} pairs."
    )


def _scores(material: Material, new: str) -> Iterator[str]:
    title = registry.title(new)
    if material.facts:
        yield f"{title}: its accuracy is that of {len(material.facts[new].transfer_Q)} facts, each asked with four answers."
    else:
        yield (
            f"{title}: no program is judged, and bits per byte and the working language lead; "
            "`evaluate --suite` asks a model that writes programs."
        )
    if (pairs := len(np.unique(material.slots[new]["pair"]))) < ENOUGH_PAIRS:
        yield (
            f"{title}: with prompts of {pairs} pairs the working language's intervals are too narrow; "
            f"{ENOUGH_PAIRS} are enough: add text, or pairs (babel_jax/languages/README.md)."
        )
