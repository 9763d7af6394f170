"""Which rows a run trains on: by the mixture of its config, or by weights that are chosen while it trains."""

import collections
from collections.abc import Callable

import numpy as np

from babel_jax.common.errors import UserError
from babel_jax.common.files import write_json
from babel_jax.corpus.mixture import LOST_STAGES, Mixture, read_stages, stages_from_config
from babel_jax.training import hosts
from babel_jax.training.checkpoint import Metadata, Seen
from babel_jax.training.config import plain
from babel_jax.training.runs import Run

# (step, parameters, stages so far) -> {"weights": {source: weight}} of the rows to come, and whatever else is to be found
# again in "stages so far", as JSON values.
Choose = Callable[[int, dict, list[dict]], dict]


def mixture_of(run: Run, stages=None) -> Mixture:
    """The rows of a run, in their order; `stages`: in place of those of its config.

    Raises:
      UserError: among others the run would see a source more than `max_epochs` times, to two decimals.
    """
    config, material = run.config, run.material
    mixture = Mixture(material.sources, stages_from_config(stages or config.stages, material.max_length), config.seed)
    for name, epochs in mixture.epochs(config.steps * config.batch_size).items():
        if round(epochs, 2) > config.max_epochs > 0:
            raise UserError(
                f"source '{name}' would be seen {epochs:.2f} times in {config.steps} steps, and max_epochs is "
                f"{config.max_epochs:g}; lower its weight or `steps`, or raise max_epochs."
            )
    return mixture


class Sampler:
    """The rows of a run, step by step, and how many of each source were drawn: here by the mixture of its config.

    They are counted as they are drawn, not computed: `corpus verify --run` compares the two.
    """

    def __init__(self, run: Run):
        if run.config.online.every:
            raise UserError(
                f"{run.directory} chooses its weights while it trains (online.every={run.config.online.every}), and nothing here "
                "chooses them; train it as a run of a study."
            )
        self._run, self._mixture = run, mixture_of(run)
        self._drawn: collections.Counter | None = None

    def start(self, about: Metadata) -> None:
        """Goes on from a checkpoint of the run, or from its beginning; on all hosts, before any rows are asked for."""
        # A run that an earlier version began has not counted all, so it counts none.
        self._drawn = None if about.rows_drawn is None else collections.Counter(about.rows_drawn)

    def chooses_at(self, step: int) -> bool:
        """Whether `choose` is to be called before the rows of this step are asked for."""
        return False

    def choose(self, step: int, params: dict) -> None:
        """Chooses the weights of the rows from this step on."""

    def rows(self, step: int) -> Callable[[np.ndarray], np.ndarray]:
        """Offsets in the batch of a step (int64 [n]) -> token rows int32 [n, T + 1]. The whole batch is counted as drawn."""
        size = self._run.config.batch_size
        first, mixture = step * size, self._mixture
        if self._drawn is not None:
            self._drawn.update(mixture.drawn(first + np.arange(size)))
        return lambda offsets: mixture.rows(first + offsets)

    def origin(self, step: int, offsets: np.ndarray) -> list[tuple[str, int]]:
        """(source, number of the row there) of rows of the batch from which the update that made `step` was computed."""
        source, row = self._mixture.origin((step - 1) * self._run.config.batch_size + offsets)
        return [(self._mixture.names[s], r) for s, r in zip(source.tolist(), row.tolist(), strict=True)]

    def seen(self, step: int) -> Seen:
        """What the run has seen after `step` updates."""
        material, by_language = self._run.material, collections.Counter()
        for name, rows in self._mixture.rows_seen(step * self._run.config.batch_size).items():
            by_language[material.source_language[name]] += rows * material.max_length
        return Seen(step, by_language.total(), dict(by_language))

    def drawn(self) -> dict[str, int] | None:
        """Rows drawn so far by source; None where a part of the run was not counted."""
        return None if self._drawn is None else dict(self._drawn)


class OnlineSampler(Sampler):
    """Weights that are chosen every `online.every` steps. They are kept in the run's stages.json, so none is chosen twice."""

    def __init__(self, run: Run, choose: Choose):
        self._run, self._choose, self._mixture = run, choose, mixture_of(run)
        self._every = run.config.online.every

    def start(self, about: Metadata) -> None:
        super().start(about)
        self._stages = self._kept()
        self._mixture = mixture_of(self._run, self._closed(self._stages))
        if len(self._stages) * self._every < about.step:
            raise UserError(
                f"{self._run.directory}/stages.json has {len(self._stages)} stages and the run is at step "
                f"{about.step}; {LOST_STAGES}."
            )

    def chooses_at(self, step: int) -> bool:
        return step == len(self._stages) * self._every

    def choose(self, step: int, params: dict) -> None:
        answer = self._choose(step, params, self._stages)
        stages = [*self._closed(self._stages)[:-1], {"tokens": 0, "step": step} | answer]
        self._mixture = mixture_of(self._run, self._closed(stages))  # before it is kept: it may be none
        self._stages = self._kept(stages)

    def _closed(self, stages: list[dict]) -> list[dict]:
        """Stages with the end of the last one, where another will be chosen there.

        The order of the rows within a stage depends on its length, so the length must be fixed before its first row is drawn.
        """
        if len(stages) * self._every >= self._run.config.steps:
            return stages
        return [*stages[:-1], stages[-1] | {"tokens": self._every * self._run.step_tokens}, stages[-1]]

    def _kept(self, stages: list[dict] | None = None) -> list[dict]:
        """The stages of stages.json, as all hosts find them there; `stages`: write these first."""
        file = self._run.directory / "stages.json"
        if hosts.is_first() and (stages or not file.exists()):
            write_json(file, stages or plain(list(self._run.config.stages)))
        hosts.barrier(f"stages {len(stages or ())} of {self._run.directory}")
        return read_stages(self._run.directory)
