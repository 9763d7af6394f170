"""What a probe's checkpoints get right in tasks, read back from its rows."""

import dataclasses

import pandas as pd

from babel_jax.common import measurements
from babel_jax.evolution import curve as curves
from babel_jax.evolution.curve import Curve
from babel_jax.evolution.selection import select
from babel_jax.evolution.tasks import BESIDE, METRICS, WRITING
from babel_jax.measuring import sentence_scores


@dataclasses.dataclass(frozen=True)
class ProbeTasks:
    """What was not asked is absent.

    Attributes:
      scores: {(task, or what is measured beside it, as in `evolution.tasks`; language): curve}.
      sentences: {language: a curve a layer} of the sentences whose translation is found; sentence_chance: by language.
    """

    scores: dict[tuple[str, str], Curve] = dataclasses.field(default_factory=dict)
    sentences: dict[str, list[Curve | None]] = dataclasses.field(default_factory=dict)
    sentence_chance: dict[str, float] = dataclasses.field(default_factory=dict)


def read(rows: pd.DataFrame, layers: int) -> ProbeTasks:
    """Of a branch's rows."""
    asked, found = select(rows, {"subset": "all"}, probe="evaluation"), {}
    metrics = {name: metric for name, metric in METRICS.items() if name != WRITING}
    metrics |= {name: beside.metric for name, beside in BESIDE.items()}
    for name, metric in metrics.items():
        of_task = select(asked, metric=metric)
        for language in sorted(set(of_task["language"])):
            found[name, language] = curves.curve(of_task, language=language)
    sentences = select(rows, probe="alignment", metric=sentence_scores.METRIC)
    return ProbeTasks(
        scores=found,
        sentences={
            language: [curves.curve(sentences, language=language, layer=layer) for layer in range(1, layers + 1)]
            for language in sorted(set(sentences["language"]))
        },
        sentence_chance=dict(zip(sentences["language"], measurements.option(sentences, "chance"), strict=True)),
    )
