"""gs:// and s3:// as places for a workdir, with nothing to install: through the clients that TensorStore brings.

TensorStore writes a checkpoint's arrays in any case, so small files and folders go the same way, with the same credentials:
Google's application default credentials, and AWS's usual chain (environment, profile, machine role). In a bucket there are
only whole objects: what is written appears at once or not at all, nothing is appended to and nothing is renamed. A folder is
there when an object lies below it, or when it was made: then an empty object marks it, as TensorFlow's file system does.

etils' own back ends, fsspec's gcsfs and s3fs, are not used: they leave half an object in the bucket where writing it failed,
forget folders that are empty, and bring three dozen packages and credentials of their own beside TensorStore's.

Environment: AWS_REGION, and AWS_ENDPOINT_URL for another service that speaks S3; TENSORSTORE_GCS_HTTP_URL likewise.
"""

import fnmatch
import functools
import importlib.metadata
import io
import os
import posixpath
import re

os.environ["EPATH_USE_TF"] = "0"  # one way to a bucket, whether TensorFlow is installed or not

import tensorstore as ts
from etils import epath
from etils.epath import backend, gpath, stat_utils

from babel_jax.common.errors import UserError, one_line

# Private names of these are replaced below. In another version that could go unnoticed: s3:// would be taken for a folder.
VERSIONS = {"orbax-checkpoint": "0.12.8", "etils": "1.15.0"}
SCHEMES = ("gs://", "s3://")
# An outage of half a minute is waited out; a longer one is an error.
RETRIES = {"max_retries": 6, "initial_delay": "500ms", "max_delay": "16s"}
PATIENCE = {"gcs_request_retries": RETRIES, "s3_request_retries": RETRIES}


def path(place: str) -> epath.Path:
    """A path in a bucket; anything else that looks like a URL is a `UserError`."""
    _register()
    if not place.startswith(SCHEMES) or not place.split("://")[1].split("/")[0]:
        raise UserError(f"cannot work in '{place}'; give a folder, gs://BUCKET/... or s3://BUCKET/...")
    return epath.Path(place.rstrip("/"))


@functools.cache
def _register() -> None:
    """Teaches etils and Orbax to use TensorStore for both schemes.

    Orbax 0.12.8 knows gs:// alone (s3:// would be taken for a folder), commits an object store's checkpoints by a marker that
    is written last, and asks Google's own package, which we do without, whether a bucket has real folders when it deletes.
    """
    for package, version in VERSIONS.items():
        if (installed := importlib.metadata.version(package)) != version:
            raise UserError(
                f"a bucket needs {package} {version} and this is {installed}: run `pip install {package}=={version}`, or work in "
                "a folder."
            )
    from orbax.checkpoint._src.path import gcs_utils
    from orbax.checkpoint._src.serialization import tensorstore_utils

    for scheme in ("gs", "s3"):
        gpath._PREFIX_TO_BACKEND[scheme] = Buckets()
    gcs_utils._GCS_PATH_PREFIX = SCHEMES
    gcs_utils.get_kvstore_for_gcs = store_spec
    gcs_utils.is_hierarchical_namespace_enabled = lambda path: False
    for context in (tensorstore_utils._BASE_TS_CONTEXT, tensorstore_utils._DEFAULT_OCDBT_TS_CONTEXT):
        context |= PATIENCE
    tensorstore_utils._use_gcs_driver = lambda directory: directory.startswith(SCHEMES)
    tensorstore_utils._normalize_path = lambda path: re.sub(r"^(gs|s3):/+", r"\1://", posixpath.normpath(path))


def read_range(place: epath.Path, start: int, stop: int) -> bytes:
    """The bytes of an object from `start` to `stop`, fetched without the others.

    Raises:
      UserError: there is no such object, it is shorter, or it cannot be read.
    """
    reader = Buckets()
    result = reader._call(place, "read", reader._key(place), byte_range=slice(start, stop))
    if result.state != "value":
        raise UserError(f"there is no {place}; check the path.")
    return result.value


def store_spec(place: str) -> dict:
    """TensorStore's key-value store of a place in a bucket."""
    scheme, _, rest = os.fspath(place).partition("://")
    bucket, _, key = rest.partition("/")
    if scheme == "gs":
        return {"driver": "gcs", "bucket": bucket, "path": key}
    spec = {"driver": "s3", "bucket": bucket, "path": key}
    if region := os.environ.get("AWS_REGION"):
        spec["aws_region"] = region
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        spec["endpoint"] = endpoint
    return spec


@functools.cache
def _store(bucket: str) -> ts.KvStore:
    return ts.KvStore.open(store_spec(bucket), context=ts.Context(PATIENCE)).result()


class _Object(io.BytesIO):
    """A file to be written, put into the bucket as one object when it is closed without an error."""

    def __init__(self, put):
        super().__init__()
        self._put = put

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self._put = None
        super().__exit__(kind, error, trace)

    def close(self):
        if not self.closed and self._put:
            self._put(self.getvalue())
        super().close()


class Buckets(backend.Backend):
    """What etils asks of a file system, on objects."""

    def _call(self, place, method: str, *arguments, **options):
        """Calls the bucket's store; whatever goes wrong there is the user's to mend."""
        try:
            return getattr(_store("/".join(os.fspath(place).split("/")[:3])), method)(*arguments, **options).result()
        except ValueError as error:
            raise UserError(
                f"cannot {method} in {place}: {one_line(error)}; what was saved is intact: mend the "
                "connection or the permissions, and run the same command again."
            ) from error

    @staticmethod
    def _key(place) -> str:
        return "/".join(os.fspath(place).rstrip("/").split("/")[3:])

    def _below(self, place) -> list[str]:
        """Keys of all objects below a folder, relative to it, its own marker left out."""
        prefix = self._key(place) + "/" if self._key(place) else ""
        keys = self._call(place, "list", ts.KvStore.KeyRange(prefix, _after(prefix)))
        return sorted(key.decode()[len(prefix) :] for key in keys if len(key) > len(prefix))

    def _is_file(self, place) -> bool:
        key = self._key(place)
        return bool(key) and bool(self._call(place, "list", ts.KvStore.KeyRange(key, key + "\0")))

    def open(self, path, mode):
        if mode in ("w", "wb"):
            file = _Object(lambda content: self._call(path, "write", self._key(path), content))
            return file if "b" in mode else io.TextIOWrapper(file, "utf-8", write_through=True)
        if mode not in ("r", "rb"):
            raise io.UnsupportedOperation(f"{path}: objects are read or written whole, not opened as '{mode}'.")
        result = self._call(path, "read", self._key(path))
        if result.state != "value":
            raise FileNotFoundError(f"there is no {path}")
        return io.BytesIO(result.value) if "b" in mode else io.StringIO(result.value.decode())

    def exists(self, path):
        return self._is_file(path) or self.isdir(path)

    def isdir(self, path):
        prefix = self._key(path) + "/"
        return prefix == "/" or bool(self._call(path, "list", ts.KvStore.KeyRange(prefix, _after(prefix))))

    def listdir(self, path):
        names = sorted({key.split("/")[0] for key in self._below(path)})
        if not names and not self.isdir(path):
            raise FileNotFoundError(f"there is no {path}")
        return names

    def glob(self, path):
        """Places that match, `*` not crossing a slash; read from one list of all that lies below the fixed part."""
        parts = os.fspath(path).split("/")
        fixed = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
        root, wanted = "/".join(parts[:fixed]), parts[fixed:]
        if not wanted:
            return [path] if self.exists(path) else []
        cut = {tuple(key.rstrip("/").split("/")[: len(wanted)]) for key in self._below(root)}
        fit = (names for names in cut if len(names) == len(wanted) and all(map(fnmatch.fnmatchcase, names, wanted)))
        return sorted("/".join((root, *names)) for names in fit)

    def walk(self, top, *, top_down=True, on_error=None):
        folders = {"": (set(), set())}
        for key in self._below(top):
            *parents, name = key.split("/")
            for depth, parent in enumerate(parents):
                folders["/".join(parents[:depth])][0].add(parent)
                folders.setdefault("/".join(parents[: depth + 1]), (set(), set()))
            if name:
                folders["/".join(parents)][1].add(name)
        for folder in sorted(folders, reverse=not top_down):
            yield posixpath.join(os.fspath(top), folder).rstrip("/"), *map(sorted, folders[folder])

    def makedirs(self, path, *, exist_ok=False, mode=None):
        if not exist_ok and self.exists(path):
            raise FileExistsError(f"{path} exists")
        self._call(path, "write", self._key(path) + "/", b"")

    mkdir = makedirs  # objects need no folder above them

    def rmtree(self, path):
        if not self.exists(path):
            raise FileNotFoundError(f"there is no {path}")
        prefix = self._key(path) + "/"
        self._call(path, "delete_range", ts.KvStore.KeyRange(prefix, _after(prefix)))

    def remove(self, path):
        if not self._is_file(path):
            raise FileNotFoundError(f"there is no {path}")
        self._call(path, "delete_range", ts.KvStore.KeyRange(self._key(path), self._key(path) + "\0"))

    def rename(self, path, dst):
        raise io.UnsupportedOperation(f"objects cannot be renamed: {path} to {dst}")

    replace = rename

    def copy(self, path, dst, overwrite):
        if not overwrite and self.exists(dst):
            raise FileExistsError(f"{dst} exists")
        with self.open(path, "rb") as source, self.open(dst, "wb") as target:
            target.write(source.read())

    def stat(self, path):
        if self.isdir(path):
            return stat_utils.StatResult(is_directory=True, length=0, mtime=0)
        with self.open(path, "rb") as file:
            return stat_utils.StatResult(is_directory=False, length=len(file.read()), mtime=0)


def _after(prefix: str) -> str:
    """The first key that does not start with `prefix`, which ends with a slash or is empty (then there is no end)."""
    return prefix[:-1] + "0" if prefix else ""
