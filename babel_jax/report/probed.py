"""What a probe in a notebook has found, as tables.

Letters as in `model/decoder.py`; K languages.
"""

import dataclasses
import functools
import json

import numpy as np
import pandas as pd

from babel_jax.common import measurements
from babel_jax.common.material import Material
from babel_jax.evolution.tasks import BESIDE, METRICS, WRITING
from babel_jax.measuring import instruments
from babel_jax.measuring.reading import Settings
from babel_jax.model.protocol import Model
from babel_jax.probes import forward, neuron_rows
from babel_jax.probes.definitions import DEFINITIONS


@dataclasses.dataclass(frozen=True, eq=False)
class Probed:
    """What all probes read off one model.

    Attributes:
      name: of the model; model: its shapes.
      material: the rows and prompts that were read.
      measured: what the one pass over them counted (`forward.Pass`): `active_RxLxFxK`, `activation_sum_RxLxFxK`, …
      table: all measurements, in the columns of the tidy table (`common/measurements.py`).
    """

    name: str
    model: Model
    material: Material
    measured: forward.Pass
    table: pd.DataFrame

    def __repr__(self):
        read = {name: len(rows["tokens"]) for name, rows in self.material.heldout.items()}
        asked = {name: len(here["position"]) for name, here in self.material.slots.items()}
        return f"<probe of {self.name}: {len(self.table)} measurements; rows {read}, prompts {asked}>"

    @functools.cached_property
    def losses(self) -> pd.DataFrame:
        """Held-out losses: `metric` loss (nats a token), loss_knowledge, or bits_per_byte; `value` with its interval; `n`."""
        return self._part(probe=("loss", "evaluation"), metric=("loss", "loss_knowledge", "bits_per_byte"))

    @functools.cached_property
    def working_language(self) -> pd.DataFrame:
        """Whose name the layers would write where an identifier must come: shares by language of the prompts and `layer` (from 1;
        -1: over the layers that `layers` names); the metrics are those of `lens.working_language`."""
        return self._part(probe=("lens", "working_language"))

    @functools.cached_property
    def neurons(self) -> pd.DataFrame:
        """How many neurons each definition (`metric`) finds for each language, by `layer` (from 1; -1: all), of `n` there are."""
        return self._part(probe=("neurons",), metric=[one.name for one in DEFINITIONS])

    @functools.cached_property
    def causes(self) -> pd.DataFrame:
        """What changing each language's neurons does, beside random sets of as many; empty unless asked for (`interventions`)."""
        return self._part(probe=("intervention",))

    @functools.cached_property
    def alignment(self) -> pd.DataFrame:
        """How far prompts (`mexa`) or sentences (`retrieval`) of equal meaning lie together, by layer; empty where none are
        parallel."""
        return self._part(probe=("alignment",))

    @functools.cached_property
    def tasks(self) -> pd.DataFrame:
        """What the model chooses where answers are given: shares of right answers (`task_…`), bits per byte of these
        (`bits_per_byte_…`), by language; empty where nothing is asked."""
        metrics = [*METRICS.values(), *(beside.metric for beside in BESIDE.values())]
        return self._part(probe=("evaluation",), metric=[metric for metric in metrics if metric != METRICS[WRITING]])

    def _part(self, **columns) -> pd.DataFrame:
        """Rows of the table with these values; what `options` says as columns."""
        kept = np.logical_and.reduce([self.table[name].isin(values).to_numpy(bool) for name, values in columns.items()])
        rows = self.table[kept].reset_index(drop=True)
        options = pd.DataFrame([json.loads(text) for text in rows["options"]], index=rows.index)
        shown = ["language", "layer", "metric", "value", "ci_low", "ci_high", "n"]
        return rows[shown].join(options[[name for name in options if name not in shown]])

    def plot(self):
        """A Matplotlib figure: the working language and specific neurons by layer, and losses: what of them was measured."""
        from babel_jax.report import probed_figure  # Matplotlib is not needed for all else

        return probed_figure.figure(self)


def measured(model, material: Material, settings: Settings) -> Probed:
    """Reads a model with the instruments of the verb `probe`.

    Args:
      model: with `params`, `model`, `name` and `step` (a `LoadedModel`).
    """
    reading, rows = instruments.measure(model, material, instruments.PROBE, settings)
    if material.heldout:
        rows += neuron_rows.count_rows(reading.measured, material.primary)
    common = dict(run=model.name, seed=0, step=model.step)
    table = measurements.table([measurements.row(**common, **row) for row in rows])
    return Probed(model.name, model.model, material, reading.measured, table)
