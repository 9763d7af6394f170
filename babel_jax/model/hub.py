"""Models on a hub of Hugging Face: what is there, and its files on a disk of this machine.

Where a model is asked for, one may name a folder, or `OWNER/NAME` or `OWNER/NAME@REVISION` of the hub, such as
EleutherAI/pythia-160m@step1000. huggingface_hub does the work, so its settings hold: HF_ENDPOINT (a mirror), HF_HUB_OFFLINE,
HF_TOKEN or `hf auth login`, HF_HOME (the cache). It is imported where it is used: that takes a third of a second.
"""

import contextlib
import dataclasses
import errno
import functools
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line, printable, unknown_name
from babel_jax.model import tokenizer_files, weight_files
from babel_jax.model.families.config_keys import CONFIG

NAME = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:@(.+))?")
MAIN = "main"  # the revision that is meant where none is named
PART = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
WAITS = (
    1,
    5,
)  # seconds until what failed by the network is tried again; what streams in, the library resumes by itself
AGAIN = "what was fetched whole is kept: run the same command again"


@dataclasses.dataclass(frozen=True)
class Name:
    """A model on the hub. `revision`: a branch, a tag or a commit."""

    repository: str
    revision: str = MAIN

    def __str__(self):
        return f"{self.repository}@{self.revision}"


@dataclasses.dataclass(frozen=True)
class Revision:
    """A revision as it is now: its commit, and the bytes of each file at its root."""

    name: Name
    commit: str
    sizes: dict[str, int]

    @property
    def model(self) -> dict[str, int]:
        """config.json and the weights that `weight_files.read_folder` would take, and their bytes."""
        return {CONFIG: self.sizes.get(CONFIG, 0)} | self._weights()

    @property
    def tokenizer(self) -> dict[str, int]:
        """config.json and the files of the tokenizer, and their bytes."""
        names = (CONFIG, *tokenizer_files.KEPT)
        return {name: self.sizes[name] for name in names if name in self.sizes}

    def _weights(self) -> dict[str, int]:
        for whole, index in ((weight_files.WEIGHTS, weight_files.INDEX), (weight_files.BIN, weight_files.BIN_INDEX)):
            if whole in self.sizes:
                return {whole: self.sizes[whole]}
            if index in self.sizes:
                kind = Path(whole).suffix
                parts = sorted(name for name in self.sizes if PART.fullmatch(name) and name.endswith(kind))
                return {name: self.sizes[name] for name in (index, *parts)}
        raise UserError(
            f"{self.name} has no {weight_files.WEIGHTS} and no {weight_files.BIN}, nor an index of parts; there are "
            f"{', '.join(sorted(self.sizes)[:10]) or 'no files'}. Name a revision that holds a model."
        )


def parsed(place: str | os.PathLike) -> Name | None:
    """The model of the hub that a place names; None: it is a folder, which comes first where both are meant."""
    text = os.fspath(place)
    if "://" in text or files.path(text).exists():
        return None
    match = NAME.fullmatch(text)
    return Name(match[1], match[2] or MAIN) if match else None


def folder(place: str | os.PathLike):
    """The folder with a model's files and its tokenizer's: `place` itself, or a copy in the hub's cache.

    Raises:
      UserError: there is no such model, or it cannot be fetched; one line each.
    """
    name = parsed(place)
    return files.path(place) if name is None else fetched(name)


def fetched(name: Name) -> Path:
    """The files of a model and its tokenizer in the hub's cache, fetched where they are not there."""
    if kept := offline(name):
        return kept
    found = revision(name)
    return fetch(found, found.model | found.tokenizer)


def offline(name: Name) -> Path | None:
    """The copy in the cache, where huggingface_hub is not to use the network. `UserError`: there is none."""
    from huggingface_hub import constants

    if not constants.is_offline_mode():
        return None
    if cached := _cached(name.repository).get(name.revision):
        return cached[1]
    raise UserError(
        f"{name} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE says not to use the network; fetch it "
        "first, or unset HF_HUB_OFFLINE."
    )


def _cached(repository: str) -> dict[str, tuple[str, Path]]:
    """Revisions of a repository in the cache, by name and by commit: (commit, folder)."""
    from huggingface_hub import constants, errors, scan_cache_dir

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except errors.CacheNotFound:
        return {}
    found = {}
    for one in repositories:
        if one.repo_type == "model" and one.repo_id == repository:
            for kept in one.revisions:
                found |= dict.fromkeys((*kept.refs, kept.commit_hash), (kept.commit_hash, kept.snapshot_path))
    return found


def revisions(repository: str) -> dict[str, str]:
    """Name -> commit of all branches and tags; offline of those in the cache.

    Raises:
      UserError: there is no such repository, or it cannot be asked.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return {name: commit for name, (commit, _) in _cached(repository).items() if name != commit}
    refs = _tried(Name(repository), lambda: _api().list_repo_refs(repository))
    return {ref.name: ref.target_commit for ref in (*refs.tags, *refs.branches)}


def revision(name: Name) -> Revision:
    """What a revision holds.

    Raises:
      UserError: there is no such repository or revision, or it cannot be asked.
    """
    about = dict(revision=name.revision, files_metadata=True)
    info = _tried(name, lambda: _api().model_info(name.repository, **about))
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or () if "/" not in file.rfilename}
    return Revision(name, info.sha, sizes)


def fetch(
    found: Revision, sizes: dict[str, int], into: Path | None = None, stop: threading.Event | None = None
) -> Path:
    """Fetches files of a revision; returns their folder. Files that are there whole are not asked for again.

    Args:
      sizes: the files, and their bytes.
      into: the folder; None: the hub's cache, where other programs find them.
      stop: raises `Stopped` soon after it is set, from another thread; nothing is shown of the progress then.

    Raises:
      UserError: a file cannot be fetched, or the disk is too small for them.
    """
    from huggingface_hub import constants, hf_hub_download

    target = into or Path(constants.HF_HUB_CACHE)
    _check_room(found.name, sum(size for name, size in sizes.items() if not _is_there(found, name, into)), target)
    # Chunks that Xet would keep, to share them between files, would take the room of several checkpoints.
    os.environ.setdefault("HF_XET_CHUNK_CACHE_SIZE_BYTES", "0")
    where = dict(endpoint=constants.ENDPOINT, cache_dir=constants.HF_HUB_CACHE, local_dir=into)
    bar = _bar(stop) if stop else None
    place = target
    for name in sizes:
        # By its name once, so that the cache knows it; by the commit, files that are there need no request.
        by = found.name.revision if into is None and name == CONFIG else found.commit
        get = functools.partial(hf_hub_download, found.name.repository, name, revision=by, tqdm_class=bar, **where)
        place = Path(_tried(found.name, get, target)).parent
    return place


def _is_there(found: Revision, name: str, into: Path | None) -> bool:
    from huggingface_hub import constants, try_to_load_from_cache

    if into is not None:
        return (into / name).exists()
    where = dict(cache_dir=constants.HF_HUB_CACHE, revision=found.commit)
    return isinstance(try_to_load_from_cache(found.name.repository, name, **where), str)


def _check_room(name: Name, wanted: int, target: Path) -> None:
    there, free = room(target)
    if wanted > free:
        raise UserError(
            f"{name} takes {amount(wanted)} and {printable(there)} has {amount(free)} free; free space, or name another disk."
        )


def room(place: Path) -> tuple[Path, int]:
    """The nearest folder on the way to a place that exists already, and how many bytes are free there."""
    there = next(one for one in (place, *place.absolute().parents) if one.exists())
    return there, shutil.disk_usage(there).free


def amount(count: int) -> str:
    """Bytes as one reads them: 1.3 GB."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


class Stopped(Exception):
    """A download was stopped because its files are no longer wanted."""


def _bar(stop: threading.Event):
    """A progress bar, as huggingface_hub wants one, that shows nothing and ends the download when `stop` is set."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings | {"disable": True})

        def update(self, n=1):
            if stop.is_set():
                raise Stopped
            return super().update(n)

    return Bar


def _api():
    from huggingface_hub import HfApi, constants, logging

    logging.set_verbosity_error()  # it would print what it retries; what it gives up on, it raises
    return HfApi(endpoint=constants.ENDPOINT)


# --- what can go wrong --------------------------------------------------------------------------------------------------------


def _tried(name: Name, ask: Callable[[], Any], target: Path | None = None):
    """What a function of huggingface_hub returns; what it raises is one line that says what to do.

    A connection that breaks, and a hub that is overloaded, are tried again after `WAITS`.
    """
    for seconds in (*WAITS, None):
        try:
            with _explained(name, target):
                return ask()
        except _Unreachable:
            if seconds is None:
                raise
            time.sleep(seconds)


class _Unreachable(UserError):
    """The hub could not be reached, or could not answer; this may pass."""


@contextlib.contextmanager
def _explained(name: Name, target: Path | None) -> Iterator[None]:
    """Turns what huggingface_hub raises into a `UserError`. `target`: where files are written."""
    from huggingface_hub import constants, errors

    endpoint = constants.ENDPOINT
    try:
        yield
    except (UserError, Stopped):
        raise
    except errors.GatedRepoError as error:
        raise UserError(
            f"{name.repository} is gated: accept its terms at {endpoint}/{name.repository}, then give a token that may read "
            "it (`hf auth login`, or HF_TOKEN)."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"there is no folder {name.repository}, and {endpoint} has no model of that name, or it is private; check the "
            "name, or give a token that may read it (`hf auth login`, or HF_TOKEN)."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise _unknown_revision(name) from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(
            f"{name} lacks a file that it listed ({one_line(error)}); it was changed meanwhile: run the same command again."
        ) from error
    except errors.HFValidationError as error:
        raise UserError(
            f"{name.repository} is not the name of a model ({one_line(error)}); give OWNER/NAME."
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise UserError(f"HF_HUB_OFFLINE says not to use the network, and {name} needs it; unset it.") from error
    except (errors.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"there is no room left in {target} for {name}; free space: {AGAIN}.") from error
        if isinstance(error, OSError) and error.filename:  # of the disk, and not of the network
            raise
        raise _unreachable(name, endpoint, error) from error


def _unknown_revision(name: Name) -> UserError:
    return UserError(
        f"{name.repository}: " + str(unknown_name("revision", name.revision, sorted(revisions(name.repository))))
    )


def _unreachable(name: Name, endpoint: str, error: Exception) -> UserError:
    response = getattr(error, "response", None)
    if response is not None:
        kind = _Unreachable if response.status_code == 429 or response.status_code >= 500 else UserError
        return kind(
            f"{endpoint} answered {response.status_code} for {name}; check the token and HF_ENDPOINT, or wait: {AGAIN}."
        )
    return _Unreachable(
        f"the connection to {endpoint} for {name} broke ({one_line(error.__cause__ or error)}); {AGAIN}, or with "
        "HF_HUB_OFFLINE=1 for what is in the cache."
    )
