"""What an instrument reads: one checkpoint, the shared pass over it, the material, and how it is to be read."""

import dataclasses
from collections.abc import Callable

import numpy as np

from babel_jax.common.material import Material
from babel_jax.model import placement
from babel_jax.model.taps import ACTIVE
from babel_jax.probes import edits, forward
from babel_jax.probes.subject import Subject


@dataclasses.dataclass(frozen=True)
class Settings:
    """How instruments read.

    Attributes:
      layers: over which the working language's scalars are taken, see `lens.chosen_layers`.
      definitions: readings of transferring neurons that need passes of their own (`definitions.BY_SCORES`).
      tuned_steps: steps of training a tuned lens for each checkpoint (0: none).
      interventions: kinds to apply to each language's neurons ("zero", "mean"), beside random sets (causes.py).
      draws: random sets a set of neurons is compared with.
      base_LxNxF: the values of the base model's neurons at the primary's slots, by which functional neurons are identified;
        None: they are not.
      active: when a neuron counts as active, one of `taps.ACTIVE`.
    """

    layers: str | tuple[int, ...] = "inner"
    definitions: tuple[str, ...] = ()
    tuned_steps: int = 0
    interventions: tuple[str, ...] = ()
    draws: int = edits.DRAWS
    base_LxNxF: np.ndarray | None = None
    active: str = ACTIVE[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """What an instrument reads.

    Attributes:
      subject: the checkpoint's model.
      measured: what the one pass counted, and read at the slots of one token.
      kept: arrays that are worth keeping beside the pass's own; instruments add to them.
    """

    subject: Subject
    material: Material
    measured: forward.Pass
    settings: Settings
    kept: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Instrument:
    """`rows`: a `Reading` -> rows. `applies`: whether it has anything to read. `at_slots`: what the pass must return for it."""

    name: str
    rows: Callable[[Reading], list[dict]]
    applies: Callable[[Material, Settings], bool] = lambda material, settings: True
    at_slots: tuple[str, ...] = ()


def subject_of(params: dict, model, material: Material) -> Subject:
    """A model as it is probed with a material: what ends its documents, and rows of its length."""
    return Subject(params, model, material.document_end, placement.batch_rows(params, material.max_length))


def slots_of_one_token(material: Material) -> dict:
    """Language -> slots at which a token, or one of a set of them, stands for an identifier."""
    return {name: slots for name, slots in material.slots.items() if "primary_sequence" not in slots}
