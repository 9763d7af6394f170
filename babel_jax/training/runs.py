"""A run and its directory: its config and material, how far it is, and who may write there.

| in the directory | what it is |
|---|---|
| `config.json` | the run's config and its material's fingerprint; of an imported model, its shape |
| `checkpoints/`, `resume/` | checkpoints that are measured; those that only serve to resume (see checkpoint.py) |
| `metrics.jsonl`, `throughput.jsonl`, … | see training/metrics.py |
| `stages.json`, `stopped.json` | the weights chosen while it trained; the bad step that stopped it |
| `measurements/` | what is measured at its checkpoints |
| `DONE` | written last: how far it came, and how often it drew from each source |
"""

import contextlib
import dataclasses
import fcntl
import functools
import shutil
import sys
import time

from ml_collections import ConfigDict

from babel_jax.common import files
from babel_jax.common.errors import LONGEST_NAME, UserError, printable, shortened
from babel_jax.common.files import read_json, write_json
from babel_jax.common.limits import COUNTS, SEEDS
from babel_jax.common.material import Material
from babel_jax.common.run_names import RunName
from babel_jax.common.schema import merged
from babel_jax.model import sharding
from babel_jax.model.decoder import DecoderConfig
from babel_jax.training import hosts, preemption
from babel_jax.training.checkpoint import Seen
from babel_jax.training.config import as_stored, decoder_config, default, plain, validate
from babel_jax.training.optimizer import static_settings
from babel_jax.training.step import Trainer, make_trainer

# Config keys that may change when a run is resumed: how often it saves itself, what it does at the next bad step, where
# metrics go, and how the same sums are laid out on the devices at hand (which may move the last bits of what comes). The file of
# the mixture and its cap may, too: the stages themselves are in the config. `ema_decay` was a key of earlier versions.
MAY_CHANGE = (
    "mixture",
    "max_epochs",
    "resume_every",
    "resume_minutes",
    "bad_step",
    "wandb_project",
    "mesh",
    "accumulation",
    "remat",
    "attention",
    "ema_decay",
)
DONE = {  # the shape of the file; a run of an earlier version, or an imported one, has not counted its rows
    "step": COUNTS,
    "tokens": COUNTS,
    "tokens_by_language?": {str: COUNTS},
    "sources?": ({str: {"rows": COUNTS, "drawn": COUNTS}}, type(None)),
}
WRITE_DONE = "delete it and train that run again, which goes on from its last checkpoint and writes it anew"


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One run, which need not have begun.

    Attributes:
      name: see run_names.py; rows of measurements and its folder are called `str(name)`.
      config: see training/config.py.
      directory: as `files.path` gives it; all hosts see it, on a disk or in a bucket.
      materials: what it is measured with: its new language's, or those of all of them where it has none. It trains on the
        first, `material`; they differ only in what is about the new language.
    """

    name: RunName
    config: ConfigDict
    directory: object
    materials: tuple[Material, ...]

    @property
    def material(self) -> Material:
        return self.materials[0]

    @property
    def seed(self) -> int:
        return self.config.seed

    @property
    def step_tokens(self) -> int:
        """Tokens of an optimiser step, over all devices."""
        return self.config.batch_size * self.material.max_length

    @functools.cached_property
    def model(self) -> DecoderConfig:
        material = self.material
        return decoder_config(self.config, material.vocab_size, material.max_length, material.frozen_rows)

    @functools.cached_property
    def trainer(self) -> Trainer:
        """Its compiled functions on the devices at hand, shared with runs of the same shapes.

        Raises:
          UserError: values of its config that cannot work together, or not on these devices.
        """
        validate(self.config)
        mesh = sharding.make_mesh(**self.config.mesh.to_dict())
        sharding.check_batch(mesh, self.config.batch_size, self.config.accumulation)
        optimizer = static_settings(self.config.optimizer)
        return make_trainer(self.model, optimizer, self.material.document_end, mesh, self.config.accumulation)

    @property
    def abstract_params(self) -> dict:
        """Shapes and placement of its parameters, as checkpoints are restored with."""
        return self.trainer.abstract_state["params"]

    @property
    def source(self):
        """The directory of the run whose last parameters it starts from; None: it starts from its seed."""
        return _beside(self.directory, self.config.init_from) if self.config.init_from else None

    def check_source(self) -> None:
        """Refuses to start from a run that is not done; a run that is resumed has started already."""
        if self.source and not (self.directory / "checkpoints").exists():
            last_step(self.source)

    def is_done(self) -> bool:
        return is_done(self.directory)

    def last_step(self) -> int:
        return last_step(self.directory)

    def check_config(self, writer: bool = True) -> None:
        """See `check_same_config`."""
        check_same_config(
            self.directory, {"config": as_stored(self.config), "material": self.material.fingerprint}, writer
        )

    def check_trained_as(self) -> None:
        """Refuses to measure a run as what it is not: of other stages, another world or corpus. An imported run is of none.

        Keys that a run of an earlier version lacks have their defaults.
        """
        stored = read_json(self.directory / "config.json", {"config": dict, "material": object})
        if stored["material"] is None:
            return
        stored["config"] = merged(plain(default()), stored["config"])
        here = {"config": plain(self.config), "material": self.material.fingerprint}
        _refuse_differences(self.directory, stored, here)


def _beside(directory, relative: str):
    """`directory` / `relative` with its ".." resolved: a bucket does not know them."""
    for part in relative.split("/"):
        directory = directory.parent if part == ".." else directory / part
    return directory


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Rows that a source has, and how often a run drew one of them."""

    rows: int
    drawn: int


@dataclasses.dataclass(frozen=True)
class Done(Seen):
    """The contents of DONE. `sources`: None where the run has not counted the rows it drew."""

    sources: dict[str, Drawn] | None


def is_done(run_dir) -> bool:
    """True when the run has finished."""
    return (files.path(run_dir) / "DONE").exists()


def read_done(run_dir) -> Done:
    """The DONE of a finished run.

    Raises:
      UserError: the run is not done, or its DONE is damaged.
    """
    if not is_done(run_dir):
        raise UserError(f"{run_dir} is not done; train that run to its end first.")
    stored = read_json(files.path(run_dir) / "DONE", DONE, WRITE_DONE)
    sources = stored.get("sources")
    if sources is not None:
        sources = {name: Drawn(counts["rows"], counts["drawn"]) for name, counts in sources.items()}
    return Done(stored["step"], stored["tokens"], stored.get("tokens_by_language", {}), sources)


def last_step(run_dir) -> int:
    """The step at which a finished run ended; raises as `read_done`."""
    return read_done(run_dir).step


def take_over(source, target) -> None:
    """Gives a run what another of the same config, on this machine, has trained, but not what was measured of it.

    A target that is not done is replaced; like any run's, its DONE is written last.
    """
    read_done(source)
    files.remove_tree(target)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("DONE", "measurements", "MEASURED", ".lock"))
    files.write_atomic(target / "DONE", files.read_bytes(source / "DONE"))


def seed_of(run_dir) -> int:
    """The seed of a run from its directory alone; 0 for a model that was not trained here."""
    path = run_dir / "config.json"
    if not path.exists():
        return 0
    return read_json(path, {"config": {"seed?": SEEDS}}, "put back a copy of it")["config"].get("seed", 0)


def check_same_config(directory, config: dict, writer: bool = True) -> None:
    """A directory belongs to one config: raises and names the first key that differs, but for those in `MAY_CHANGE`.

    `writer`: whether this process writes the config of a new directory.
    """
    path = files.path(directory) / "config.json"
    if not path.exists():
        if writer:
            write_json(path, config)
        return
    mend = "if you are sure that all in this folder is of this config, delete the file; else use another workdir"
    _refuse_differences(directory, read_json(path, dict, mend), config)


def _refuse_differences(directory, stored: dict, config: dict) -> None:
    for name, old, new in files.differences(stored, config):
        if not set(MAY_CHANGE).isdisjoint(name.split(".")):
            continue
        old, new = (shortened(str(value), LONGEST_NAME) for value in (old, new))
        raise UserError(
            f"{directory} belongs to another config: {name} was {old} and is now {new}; use another workdir, or the old value."
        )


@contextlib.contextmanager
def locked(directory):
    """Holds the directory for this process alone; the lock goes with the process, however it ends. Buckets have no locks.

    Of several hosts the first one holds it for all.
    """
    if not files.is_local(directory) or not hosts.is_first():
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(open(directory / ".lock", "w"))
        except OSError as error:
            raise UserError(
                f"cannot work in {directory}: {error.strerror}; choose another workdir, or mend this one."
            ) from error
        waiting = False
        while not _try_lock(file):
            if not waiting:
                print(f"waiting for another process that works in {printable(directory)}", file=sys.stderr)
            waiting = True
            time.sleep(0.2)
            if not hosts.several():  # they poll equally often, and only this one waits here
                preemption.check()
        yield


def _try_lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
