"""All definitions of transferring neurons, and the sets of neurons that those by counts name.

What is here is measured by `probe`: definitions by counts always, those by scores where `--definitions` names them. The
functional definition (functional.py) needs the values of neurons in the run's base model, so it is an instrument of its own.
"""

from babel_jax.probes.ablation import CAUSAL
from babel_jax.probes.attribution import PLS
from babel_jax.probes.by_counts import LAPE_BOTH, LAPE_EXCLUSIVE, LAPE_TARGET, PAIR_SHARED, ByCounts
from babel_jax.probes.by_scores import ByScores
from babel_jax.probes.centroid import CENTROID_TYPE1, CENTROID_TYPE2
from babel_jax.probes.lape import Selection, new_languages

DEFINITIONS = (
    LAPE_TARGET,
    LAPE_BOTH,
    LAPE_EXCLUSIVE,
    PAIR_SHARED,
    CENTROID_TYPE1,
    CENTROID_TYPE2,
    CAUSAL,
    PLS,
)
BY_SCORES = {one.name: one for one in DEFINITIONS if isinstance(one, ByScores)}


def definitions_by_counts(languages) -> list[ByCounts]:
    """The definitions by counts that mean something for these languages."""
    return [one for one in DEFINITIONS if isinstance(one, ByCounts) and one.languages <= len(languages)]


def neuron_sets(selection: Selection, languages, primary: str) -> dict:
    """All sets of neurons that counts define: {(definition or "specific", language): mask [..., L, F]}.

    "specific" are the chosen neurons of each language, the primary included; definitions are for every new language.
    """
    sets = {("specific", name): selection.chosen_xLxF & selection.above_KxxLxF[k] for k, name in enumerate(languages)}
    for name in new_languages(languages, primary):
        indices = languages.index(primary), languages.index(name)
        for definition in definitions_by_counts(languages):
            sets[definition.name, name] = definition.mask(selection, *indices)
    return sets
