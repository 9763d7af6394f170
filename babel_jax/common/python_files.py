"""Configs and manifests that are Python: what their `get_config()` returns, and errors of theirs in one line."""

import inspect
import os
import re
import runpy
import traceback
import warnings
from collections.abc import Callable, Iterable

from ml_collections import ConfigDict

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line, unknown_name


def read(place: str, what: str, examples: str):
    """What `get_config()` of a Python file returns; FILE.py:ARGUMENT hands it the text behind the colon.

    A file of several studies names them in `VARIANTS`, and takes no other argument.

    Args:
      what: "config" or "manifest", `examples`: where some lie; for errors.

    Raises:
      UserError: there is no such file, or it cannot be read or run, or has no get_config; in one line.
    """
    path, argument = split_argument(place)
    hint = f"{examples} holds those of this project."
    file = files.path(path)
    if not files.is_local(file):
        raise UserError(f"the {what} {path} is in a bucket; copy it to a disk of this machine.")
    if not file.exists():
        raise UserError(f"there is no {what} {path}; {hint}")
    files.read_bytes(path, hint)  # what may not be read, or would never end
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its syntax: they are printed, and it is the user's own file
            module = runpy.run_path(path)
            get_config = module.get("get_config")
            if not callable(get_config):
                raise UserError(f"{path} has no get_config(); write one that returns the {what}.")
            arguments = () if argument is None else (argument,)
            _check_argument(path, get_config, arguments, module.get("VARIANTS"))
            return _resolved(get_config(*arguments))
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever the user's file raises, SystemExit too
        raise UserError(f"the {what} {path} cannot be run: {_raised(error, path)}; correct it.") from error


def split_argument(place: str | os.PathLike) -> tuple[str, str | None]:
    """The file and the argument of FILE.py:ARGUMENT; the argument of FILE.py is None. A file's own name may hold colons."""
    text = os.fspath(place)
    if os.path.exists(text):
        return text, None
    ends = [match.end() - 1 for match in re.finditer(r"\.py:", text)]
    end = next((end for end in reversed(ends) if os.path.exists(text[:end])), ends[0] if ends else None)
    return (text, None) if end is None else (text[:end], text[end + 1 :])


def _check_argument(
    path: str, get_config: Callable, arguments: tuple[str, ...], variants: Iterable[str] | None
) -> None:
    if variants is not None and arguments and arguments[0] not in variants:
        raise unknown_name(f"variant of {path}:", arguments[0], variants)
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        if variants is not None and not arguments:
            raise UserError(f"{path} has several variants; choose one: {path}:{', :'.join(variants)}.") from error
        problem = f"is given '{arguments[0]}'" if arguments else "is given nothing"
        raise UserError(
            f"get_config() of {path} {problem}, and cannot be called so ({one_line(error)}); FILE.py:ARGUMENT hands it a "
            "text, FILE.py nothing."
        ) from error


def _resolved(config):
    """A ConfigDict whose placeholders are filled, or missed, here; anything else as it is."""
    return ConfigDict(config.to_dict()) if isinstance(config, ConfigDict) else config


def _raised(error: BaseException, path: str) -> str:
    """Type, text and line of what a file has raised."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == path else lines[-1] if lines else None
    try:
        text = one_line(error)
    except Exception:  # of a class of the user's own, whose text cannot be had
        text = ""
    name = type(error).__name__
    return f"{name}{f': {text[:200]}' if text not in ('', name) else ''}{f' (line {line})' if line else ''}"
