"""A series: the checkpoints of a training that others have published on a hub, as sources of the walk.

A series file says where they are, and which step and how many tokens each revision stands for (configs/series/):

    name: OpenCoder-1.5B                  # the folder of its results
    repository: OpenCoder-LLM/OpenCoder-1.5B-Base-Checkpoints
    tokens_per_step: 4194304
    runs:
      pretrain:
        revisions: pretrain_iter_*        # the first * stands for the step, a whole number
      anneal:
        revisions: anneal_iter_*          # its steps count from where it began …
        parent: pretrain                  # … which is a checkpoint of another run
        from_step: 373000

`seeds: {0: NAME, 1: NAME}` in place of `repository` names the same training from several seeds. A run's `also: {main: 143000}`
names revisions whose name does not tell their step. `last_step` of a run is the one at which it is not followed any longer.
`tokenizer` is the model of the hub whose tokenizer it is, where the checkpoints come without. `source` says where this stands.
"""

import contextlib
import dataclasses
import functools
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

from babel_jax.common import files, strict_yaml
from babel_jax.common.errors import UserError, one_line, unknown_name
from babel_jax.common.limits import LARGEST_STEP, MOST_TOKENS
from babel_jax.measuring import walk
from babel_jax.measuring.fetch_ahead import Ahead
from babel_jax.model import hub, model_folders, tokenizer_files
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.families import catalogue
from babel_jax.model.sharding import make_mesh
from babel_jax.model.tokenizer_files import TOKENS, TokenizerFiles
from babel_jax.training import hosts
from babel_jax.training.checkpoint import Metadata
from babel_jax.training.runs import locked

POLL_SECONDS = 300  # a hub is asked no more often whether a series has grown
ONLY = "checkpoints"  # the name of the one run of a series that is given on the command line
HINT = "see configs/series/ for examples."


@dataclasses.dataclass(frozen=True)
class Phase:
    """One run of a series.

    Attributes:
      revisions: a glob, whose first * stands for the step.
      tokens_per_step: where it is not that of the series.
      parent, from_step: the run that it branched off from, and where; () and 0: it began from new parameters.
      also: revision -> its step.
      last_step: None: whether it still grows is not known.
    """

    revisions: str
    tokens_per_step: int | None = None
    parent: str | None = None
    from_step: int = 0
    also: dict[str, int] = dataclasses.field(default_factory=dict)
    last_step: int | None = None


@dataclasses.dataclass(frozen=True)
class Series:
    """What a series file says; attributes as there."""

    name: str
    runs: dict[str, Phase]
    tokens_per_step: int
    seeds: dict[str, str] = dataclasses.field(default_factory=dict)
    repository: str | None = None
    tokenizer: str | None = None
    source: str = ""

    def tokens(self, run: str, step: int) -> int:
        """Tokens that the model had seen at a step of a run, with those of the run that it branched off from."""
        phase = self.runs[run]
        before = self.tokens(phase.parent, phase.from_step) if phase.parent else 0
        return before + step * (phase.tokens_per_step or self.tokens_per_step)


def read(place: str) -> Series:
    """A series file.

    Raises:
      UserError: it cannot be read, or says something that no series file says.
    """
    text = files.read_text(place, HINT)
    try:
        stored = strict_yaml.parse(text)
    except strict_yaml.ERRORS as error:
        raise UserError(f"cannot read {place} as YAML ({one_line(error)}); {HINT}") from error
    if isinstance(stored, dict) and isinstance(stored.get("seeds"), dict):
        stored["seeds"] = {str(seed): name for seed, name in stored["seeds"].items()}
    if wrong := files.fault(stored, files.shape_of(Series)) or _unknown_key(stored):
        raise UserError(f"{place} is not a series file: {wrong}; {HINT}")
    series = files.typed(Series, stored)
    if wrong := _contradiction(series):
        raise UserError(f"{place}: {wrong}; {HINT}")
    return series


def of_model(repository: str, revisions: str, tokens_per_step: int) -> Series:
    """The series of one model of a hub whose revisions are named by a glob.

    Raises:
      UserError: the glob or the name is none.
    """
    name = repository.rpartition("/")[2]
    series = Series(name, {ONLY: Phase(revisions)}, tokens_per_step, repository=repository)
    if wrong := _contradiction(series):
        raise UserError(f"{wrong}.")
    return series


def _unknown_key(stored: dict) -> str | None:
    tables = [(stored, Series)] + [(run, Phase) for run in stored["runs"].values()]
    for table, kind in tables:
        known = [field.name for field in dataclasses.fields(kind)]
        for key in table:
            if key not in known:
                return str(unknown_name("key", key, known)).rstrip(".")
    return None


def _contradiction(series: Series) -> str | None:
    """What is wrong with a series of the right shape, in a few words."""
    files.safe_name(series.name, "the name of a series")
    if (series.repository is None) == (not series.seeds):
        return "give `repository`, or `seeds` with a repository each"
    if not series.runs:
        return "it has no `runs`"
    for seed, repository in (series.seeds or {"0": series.repository}).items():
        if not seed.isdecimal() or not hub.NAME.fullmatch(repository) or "@" in repository:
            return f"seed {seed} has the repository '{repository}'; give a whole number and OWNER/NAME"
    for name, run in series.runs.items():
        files.safe_name(name, "the name of a run")
        if "*" not in run.revisions:
            return f"`revisions` of {name} is '{run.revisions}', without a * where the step stands"
        for rate in (series.tokens_per_step, run.tokens_per_step or 1):
            if not 0 < rate <= MOST_TOKENS:
                return f"tokens_per_step is {rate}"
        line = [name]
        while (parent := series.runs[line[-1]].parent) is not None:
            if parent not in series.runs or parent in line:
                return f"the parent of {line[-1]} is '{parent}', which is no other run of the series"
            line.append(parent)
    return None


def sources(series: Series, out, runs: tuple[str, ...] = (), keep: bool = False) -> list["Published"]:
    """What the walk takes checkpoints from: each run of each seed.

    Args:
      out: where the results go; checkpoints are fetched into a folder of it.
      runs: which of the series' runs; () for all.
      keep: leave what is fetched in the hub's cache.

    Raises:
      UserError: there is no such run.
    """
    for name in runs:
        if name not in series.runs:
            raise unknown_name(f"run of {series.name}", name, series.runs)
    return [
        Published(series, name, repository, int(seed), downloads_of(out), keep)
        for seed, repository in (series.seeds or {"0": series.repository}).items()
        for name in runs or series.runs
    ]


def downloads_of(out) -> Path:
    """Where checkpoints are fetched to: beside the results, or, where these are in a bucket, beside the hub's cache."""
    out = files.path(out)
    if files.is_local(out):
        return out / ".downloads"
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "babel_jax" / files.content_hash(str(out))


@dataclasses.dataclass(frozen=True, eq=False)
class Published(walk.Source):
    """One run of a series, from one seed.

    While one checkpoint is probed the next one is fetched, into the room that the files of the former took: these are deleted
    as soon as its parameters are on the devices. So there are never more files than those of one checkpoint.
    """

    series: Series
    name: str
    repository: str
    seed: int
    downloads: Path
    keep: bool = False
    directory = None
    poll_seconds = POLL_SECONDS

    @property
    def group(self) -> str:
        return self.series.name + (f"_seed{self.seed}" if self.series.seeds else "")

    def __str__(self) -> str:
        return f"{self.repository} ({self.name})"

    @property
    def phase(self) -> Phase:
        return self.series.runs[self.name]

    @property
    def _folder(self) -> Path:
        return self.downloads / self.group / self.name

    # --- what there is --------------------------------------------------------------------------------------------------------

    def revisions(self) -> dict[int, tuple[hub.Name, str]]:
        """Step -> (revision, commit) of the checkpoints that the hub has now, by step.

        Raises:
          UserError: it cannot be asked; two revisions are of one step.
        """
        found, named = {}, hub.revisions(self.repository)
        for revision, commit in named.items():
            step = _step(self.phase.revisions, revision)
            step = self.phase.also.get(revision) if step is None else step
            if step is None or step > LARGEST_STEP:
                continue
            if step in found:
                raise UserError(
                    f"{self.repository} has two revisions of step {step}, {found[step][0].revision} and {revision}; write a "
                    "narrower `revisions`."
                )
            found[step] = hub.Name(self.repository, revision), commit
        return dict(sorted(found.items()))

    @property
    def none_yet(self) -> str:
        return f"none of its revisions is '{self.phase.revisions}': give another glob, or --follow to wait for one"

    @functools.cached_property
    def _known(self) -> dict[int, tuple[hub.Name, str]]:
        """The revisions at the last look."""
        return {}

    def steps(self) -> list[int]:
        self._known.update(self.revisions())
        return sorted(self._known)

    def is_done(self) -> bool:
        return self.phase.last_step is not None and self.phase.last_step in self.steps()

    # --- the model and its tokenizer --------------------------------------------------------------------------------------------

    @functools.cached_property
    def _described(self) -> Path:
        """A folder with config.json and the tokenizer's files of the first checkpoint; they are small, and kept."""
        if not self._known:
            self.steps()
        name, commit = self._known[min(self._known)]
        return self._small_files(hub.Name(self.repository, commit), "about")

    def _small_files(self, name: hub.Name, folder: str) -> Path:
        if kept := hub.offline(name):
            return kept
        found = hub.revision(name)
        return hub.fetch(found, found.tokenizer, None if self.keep else self._folder / folder)

    @functools.cached_property
    def stored_model(self) -> DecoderConfig:
        """The decoder of its first checkpoint, as config.json describes it; the others must be of the same."""
        return catalogue.read_config(model_folders.read_config(self._described))[1]

    @functools.cached_property
    def model(self) -> DecoderConfig:
        return walk.as_computed_here(dataclasses.replace(self.stored_model, attention="reference", remat="none"))

    def tokenizer(self) -> TokenizerFiles:
        hf_config = model_folders.read_config(self._described)
        place = self._described
        if self.series.tokenizer:
            place = self._small_files(hub.parsed(self.series.tokenizer), "tokenizer")
        contents = tokenizer_files.read(place)
        tokenizer_files.check_belongs(contents, self.model.vocab_size, f"of {self}")
        return TokenizerFiles(contents, {name: hf_config[name] for name in TOKENS if name in hf_config})

    # --- checkpoints ------------------------------------------------------------------------------------------------------------

    def opened(self, step: int) -> walk.Checkpoint:
        phase, (name, commit) = self.phase, self._known[step]
        seen = Metadata(step, self.series.tokens(self.name, step), {}, self.model.to_json(), 0.0)
        parent = {"run": phase.parent, "step": phase.from_step} if phase.parent else None
        about = {"repository": self.repository, "revision": name.revision, "commit": commit}
        about |= {"phase": self.name, "parent": parent}
        mesh = make_mesh(data=1, fsdp=-1)
        return walk.Checkpoint(self, self.seed, self.model, seen, mesh, about=about)

    @functools.cached_property
    def _ahead(self) -> Ahead:
        return Ahead(self._fetched)

    @functools.cached_property
    def _expected(self) -> list[int]:
        """Steps that will be restored, in order."""
        return []

    def _fetched(self, step: int, stop: threading.Event) -> Path:
        name, commit = self._known[step]
        if kept := hub.offline(hub.Name(self.repository, commit)):
            return kept
        found = hub.revision(hub.Name(self.repository, commit))
        found = dataclasses.replace(found, name=name)
        return hub.fetch(found, found.model, None if self.keep else self._place(step), stop)

    def revision_of(self, step: int) -> str:
        return self._known[step][0].revision

    def bytes_of(self, step: int) -> int:
        """How much a checkpoint takes on the disk."""
        return sum(hub.revision(hub.Name(self.repository, self._known[step][1])).model.values())

    def _place(self, step: int) -> Path:
        return self._folder / f"{walk.file_name(step)}-{self._known[step][1][:12]}"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        if hosts.several():
            raise UserError(f"{self} is fetched and probed by one process; take one, or import it into a run first.")
        with locked(self._folder), contextlib.closing(self._ahead):
            yield

    def expect(self, steps: list[int]) -> None:
        self._expected[:] = steps
        self._clear(steps[0] if steps else None)
        if steps:
            self._ahead.begin(steps[0])

    def _clear(self, step: int | None) -> None:
        """Deletes what a process that was killed has left, and what was fetched for nothing, but not whole files of `step`."""
        if self._ahead.key is not None and self._ahead.key != step:
            self._ahead.close()
        for folder in self._folder.glob("step_*"):
            if step is None or folder != self._place(step):
                shutil.rmtree(folder)
        if self._ahead.key is None and step is not None:
            for part in self._place(step).rglob("*.incomplete"):
                part.unlink()

    def restored(self, checkpoint: walk.Checkpoint) -> walk.Checkpoint:
        step = checkpoint.step
        self._clear(step)
        folder = self._ahead.take(step)
        config, params = model_folders.read_model(folder, lambda config: checkpoint.mesh)
        for name, first, here in files.differences(self.stored_model.to_json(), config.to_json()):
            raise UserError(
                f"{checkpoint.about['revision']} of {self} is of another model than its first checkpoint: {name} is {here} and "
                f"was {first}; make it a run of its own in a series file."
            )
        if not self.keep:
            files.remove_tree(self._place(step))
        later = [other for other in self._expected if other > step]
        if later:
            self._ahead.begin(later[0])
        return dataclasses.replace(checkpoint, params=params)

    def params_at(self, checkpoint: walk.Checkpoint, step: int) -> dict:
        raise UserError(
            f"{self} has one checkpoint here at a time; import both into a run to restore parts of one in another."
        )


def _step(glob: str, revision: str) -> int | None:
    """The step of a revision, where a glob fits it."""
    before, _, after = glob.partition("*")
    rest = re.escape(after).replace(r"\*", ".*").replace(r"\?", ".")
    match = re.fullmatch(re.escape(before).replace(r"\?", ".") + r"(\d{1,18})" + rest, revision)
    return int(match[1]) if match else None
