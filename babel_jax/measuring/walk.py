"""The one walk over checkpoints: find runs, choose steps, restore parameters, write measurements.

A study measures its runs, `probe` and `evaluate` any run's checkpoints, `train --probe` those that it has just saved: each
gets a `Checkpoint` and writes its rows by `write`, whole, from the first host. Checkpoints already measured are skipped, a
run that still trains can be followed, and a checkpoint that is deleted meanwhile is left out.

Checkpoints come from a `Source`: a run of ours (`OwnRun`), or a series that others have published (series.py).
"""

import abc
import contextlib
import dataclasses
import glob
import os
import time
from collections.abc import Callable, Iterator

import jax
from jax.sharding import Mesh

from babel_jax.common import files, measurements
from babel_jax.common.errors import UserError, printable
from babel_jax.model import attention, placement
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.sharding import make_mesh
from babel_jax.model.tokenizer_files import TokenizerFiles
from babel_jax.training import foreign, hosts, preemption
from babel_jax.training.checkpoint import Checkpoints, Metadata, Seen, restore_params
from babel_jax.training.runs import is_done, seed_of

POLL_SECONDS = 5
LAST = (-1,)  # a choice of steps: the last one


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One saved step of a training.

    Attributes:
      source: what it is a checkpoint of, which knows how to read its parameters.
      seed: of the run; its name is that of the source.
      model: the decoder that its parameters are of, computed as this machine can.
      seen: how far the run was; of a saved checkpoint all that it says of itself (`Metadata`).
      mesh: where `restored` puts the parameters; None: they are here.
      params: None until `restored`.
      about: what artefacts say of it besides: of a published one its repository and revision, its phase and parent.
    """

    source: "Source"
    seed: int
    model: DecoderConfig
    seen: Seen
    mesh: Mesh | None = None
    params: dict | None = None
    about: dict = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def step(self) -> int:
        return self.seen.step

    @property
    def file_name(self) -> str:
        """What files about this checkpoint are called, without what says of which kind they are."""
        return file_name(self.step)


def file_name(step: int) -> str:
    return f"step_{step:08d}"


# --- runs and steps -----------------------------------------------------------------------------------------------------------


def run_directories(patterns) -> list:
    """The runs named by directories or globs (of runs, or of their `checkpoints` folders), in order, each once.

    Raises:
      UserError: a pattern matches no run.
    """
    run_dirs = {}
    for pattern in patterns:
        matches = (
            [pattern] if "://" in str(pattern) else sorted(map(os.path.abspath, glob.glob(os.path.expanduser(pattern))))
        )
        runs = [files.path(match) for match in matches]
        runs = [run.parent if run.name == "checkpoints" else run for run in runs]
        runs = [run for run in runs if (run / "checkpoints").exists()]
        if not runs:
            raise UserError(
                f"'{pattern}' matches no run with checkpoints; give run directories, such as 'W/seed*/continual'."
            )
        run_dirs |= dict.fromkeys(runs)
    return list(run_dirs)


def places_of(sources, out, doing: str) -> dict:
    """{source: its folder below `out`}; `doing`: the verb of the error where two runs would share a folder."""
    places = {}
    for source in sources:
        place = files.path(out) / source.group / source.name
        if place in places.values():
            raise UserError(f"two runs are called {place.parent.name}/{place.name}; {doing} them into two folders.")
        places[source] = place
    return places


def steps_of(run_dir) -> list[int]:
    """Steps of a run's finished checkpoints, ascending."""
    with contextlib.closing(Checkpoints(run_dir, create=False)) as checkpoints:
        return checkpoints.steps()


def chosen_steps(steps: list[int], chosen: tuple[int, ...], run_dir, more_to_come: bool) -> list[int]:
    """The chosen ones of a run's steps: () for all, `LAST`; none of them may be missing once all have come."""
    if chosen == LAST:
        return [] if more_to_come else steps[-1:]
    missing = sorted(set(chosen) - set(steps))
    if missing and not more_to_come:
        raise UserError(f"{run_dir} has no checkpoint {missing[0]}; there are {steps}.")
    return [step for step in steps if not chosen or step in chosen]


# --- one checkpoint -----------------------------------------------------------------------------------------------------------


def restored(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint with its parameters, on its mesh; None, with a message: it was deleted meanwhile.

    Raises:
      UserError: it cannot be read, or is of another model.
    """
    return checkpoint.source.restored(checkpoint)


def params_at(checkpoint: Checkpoint, step: int) -> dict:
    """The parameters of the same run at any step, laid out as `restored` does it."""
    return checkpoint.source.params_at(checkpoint, step)


def stored_model(metadata: Metadata) -> DecoderConfig:
    """The decoder of a checkpoint, computed as this machine can: that does not change what its parameters mean."""
    return as_computed_here(DecoderConfig.from_json(metadata.model | {"attention": "reference", "remat": "none"}))


def as_computed_here(model: DecoderConfig) -> DecoderConfig:
    """A model with the attention that this machine computes fastest."""
    return dataclasses.replace(
        model, attention=attention.resolve("auto", model.attention_shapes(jax.default_backend()))
    )


@contextlib.contextmanager
def _unless_deleted(run_dir, step: int):
    """Swallows the error of reading a checkpoint that no longer exists."""
    try:
        yield
    except (UserError, OSError):
        if step in steps_of(run_dir):
            raise
        print(f"checkpoint {step} of {printable(run_dir)} was deleted meanwhile; it is left out.")


# --- the walk -----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Look:
    """One look at a run.

    Attributes:
      steps: of the checkpoints that were not there at the look before.
      checkpoints: these, not restored yet.
      coming: whether more will come.
    """

    steps: list[int]
    checkpoints: Iterator[Checkpoint]
    coming: bool


class Source(abc.ABC):
    """A training whose checkpoints are measured in order. `str()` is what errors call it.

    Attributes:
      directory: of a run of ours; None: its checkpoints lie elsewhere.
      group, name: folders that its results are kept in, one in the other; rows call the run `name`.
      seed: of its rows.
      poll_seconds: between two looks, where it is followed.
      none_yet: what to do where it has no checkpoint.
    """

    directory: object | None
    group: str
    name: str
    seed: int
    poll_seconds: float = POLL_SECONDS
    none_yet: str = "train the run first"

    @abc.abstractmethod
    def steps(self) -> list[int]:
        """Steps of its checkpoints, ascending."""

    @abc.abstractmethod
    def is_done(self) -> bool:
        """Whether no further checkpoint will come."""

    @abc.abstractmethod
    def tokenizer(self) -> TokenizerFiles | None:
        """The files of the tokenizer that came with an imported or published model; None: there are none."""

    @abc.abstractmethod
    def opened(self, step: int) -> Checkpoint | None:
        """A checkpoint that is not restored yet, to be split over all devices; None: it was deleted meanwhile."""

    @abc.abstractmethod
    def restored(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """One of its checkpoints with its parameters; None, with a message: it was deleted meanwhile."""

    @abc.abstractmethod
    def params_at(self, checkpoint: Checkpoint, step: int) -> dict:
        """The parameters of any step, for the model and mesh of one of its checkpoints."""

    def at_work(self) -> contextlib.AbstractContextManager:
        """Enter this before checkpoints are restored."""
        return contextlib.nullcontext()

    def expect(self, steps: list[int]) -> None:
        """Says which checkpoints will be restored, in order. A source may fetch them ahead; here there is nothing to do."""
        return

    def looks(
        self,
        steps: tuple[int, ...] = (),
        *,
        follow: bool = False,
        needs: int | None = None,
        skip: Callable[[int], bool] = lambda step: False,
        progress: Callable[[dict], None] = lambda message: None,
    ) -> Iterator[Look]:
        """Looks once, or (`follow`) until it is done. Take all of a look's checkpoints before the next look.

        Args:
          steps: which checkpoints; () for all, `LAST` for the last. They come in order.
          needs: a step that must have been saved before any of them is looked at.
          skip: whether nothing is left to do at a step; its checkpoint is then not opened. The first host decides.
          progress: called after each step with {"run", "checkpoint", "checkpoints"}.

        Raises:
          UserError: there is no checkpoint, or not a chosen one, or one that cannot be read.
        """
        seen: set[int] = set()

        def fresh(new: list[int], of: int) -> Iterator[Checkpoint]:
            for step in new:
                if not hosts.agree(skip(step)) and (checkpoint := self.opened(step)):
                    yield checkpoint
                seen.add(step)
                progress({"run": self.name, "checkpoint": len(seen), "checkpoints": of})

        while True:
            coming = follow and not self.is_done()  # asked first: what is saved after that is seen by the next look
            there = self.steps()
            if not there and not follow:
                raise UserError(f"{self} has no finished checkpoint; {self.none_yet}.")
            wanted = chosen_steps(there, steps, self, coming)
            new = [step for step in wanted if step not in seen]
            new = [] if coming and needs is not None and needs not in there else new
            yield Look(new, fresh(new, len(wanted)), coming)
            if not coming:
                return
            preemption.check()
            time.sleep(self.poll_seconds)


@dataclasses.dataclass(frozen=True)
class OwnRun(Source):
    """A run's directory."""

    directory: object

    @property
    def group(self) -> str:
        return self.directory.parent.name

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def seed(self) -> int:
        return seed_of(self.directory)

    def __str__(self) -> str:
        return str(self.directory)

    def steps(self) -> list[int]:
        return steps_of(self.directory)

    def is_done(self) -> bool:
        return is_done(self.directory)

    def tokenizer(self) -> TokenizerFiles | None:
        return foreign.kept_tokenizer(self.directory)

    def opened(self, step: int) -> Checkpoint | None:
        with _unless_deleted(self.directory, step):
            with contextlib.closing(Checkpoints(self.directory, create=False)) as checkpoints:
                metadata = checkpoints.metadata(step)
            return Checkpoint(self, self.seed, stored_model(metadata), metadata, make_mesh(data=1, fsdp=-1))

    def restored(self, checkpoint: Checkpoint) -> Checkpoint | None:
        with _unless_deleted(self.directory, checkpoint.step):
            return dataclasses.replace(checkpoint, params=self.params_at(checkpoint, checkpoint.step))

    def params_at(self, checkpoint: Checkpoint, step: int) -> dict:
        abstract = placement.abstract_params(checkpoint.model, checkpoint.mesh)
        return restore_params(self.directory, step, abstract, checkpoint.model.to_json())


def checkpoints(source: Source, steps: tuple[int, ...] = (), **how) -> Iterator[Checkpoint]:
    """The chosen checkpoints that a source has now; arguments as of its `looks`."""
    for look in source.looks(steps, **how):
        yield from look.checkpoints


# --- what was measured --------------------------------------------------------------------------------------------------------


def completed(checkpoint: Checkpoint, rows: list[dict]) -> list[dict]:
    """Rows of the table, from rows without run, seed, step and tokens."""
    common = dict(
        run=checkpoint.name,
        seed=checkpoint.seed,
        step=checkpoint.step,
        tokens=checkpoint.seen.tokens,
        tokens_by_language=checkpoint.seen.tokens_by_language,
    )
    return [measurements.row(**common, **row) for row in rows]


def write(path, rows: list[dict]) -> None:
    """Writes rows of the table, whole: all hosts have measured the same, and the first one writes it."""
    if hosts.is_first():
        measurements.write(path, measurements.table(rows))
