"""What there is to fuzz, asked of the program itself, and the cases that are made of it.

Verbs and their options come from the parsers, config keys from their declaration, input files from the folders that the
program's own commands have made. examples.txt has the good command lines that cases begin with; a verb without one is
fuzzed by what its parser requires.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import re
import shlex
import shutil
from pathlib import Path

from babel_jax.cli import verbs
from babel_jax.common import schema
from babel_jax.study import plan

from .values import JSON, JUNK, LITERALS, NUMBERS, TEXTS

# In this order those before the empty line make, of inputs/, the folder that every case gets a copy of.
EXAMPLES = [shlex.split(line) for line in (Path(__file__).parent / "examples.txt").read_text().splitlines()]


@dataclasses.dataclass(frozen=True)
class Option:
    """An option, or a positional argument (its name has no dashes). kind: "number", "text" or "flag" (it has no value)."""

    name: str
    kind: str
    choices: tuple[str, ...]
    required: bool


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to call the program: a verb, perhaps with a word behind it, and the options that are read then."""

    words: tuple[str, ...]
    options: tuple[Option, ...]


@dataclasses.dataclass
class Case:
    """One command line, and what in its folder is damaged."""

    words: tuple[str, ...]
    arguments: list[str]
    damage: str = ""

    def __str__(self):
        line = " ".join(["babel_jax", *self.words, *(ascii(shlex.quote(word))[1:-1] for word in self.arguments)])
        return line[:600] + f"   # with {self.damage}" * bool(self.damage)


def forms() -> list[Form]:
    """Every way to call the program, asked of the parser of each verb."""
    every_form = []
    for verb in verbs.VERBS:
        parser = verbs.parser_of(verb)
        below = next(
            (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)), {}
        )
        parsers = {(verb, name): of_command for name, of_command in below.items()} or {(verb,): parser}
        for words, one in parsers.items():
            every_form.append(Form(words, tuple(filter(None, map(_option, one._actions)))))
    return every_form


def _option(action: argparse.Action) -> Option | None:
    if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
        return None
    kind = "flag" if action.nargs == 0 else "text"
    with contextlib.suppress(Exception):  # not every kind of value takes a number
        kind = "number" if isinstance(action.type("1"), int | float) else kind
    name = action.option_strings[0] if action.option_strings else action.dest
    return Option(name, kind, tuple(map(str, action.choices or ())), action.required)


def config_keys() -> dict[str, object]:
    """{"section.key": its default} of all that `--config.section.key=` can set; NAME stands for the role of a run."""
    return {key: about.default for key, about in schema.walk(plan.STUDY) if ".N." not in key}


def make(rng: random.Random, forms: list[Form], keys: dict[str, object], folder: Path) -> Case:
    """A case; what it damages in the folder is damaged."""
    form = rng.choices(forms, [5 + len(form.options) for form in forms])[0]
    case = Case(form.words, _good_arguments(rng, form))
    kinds = ["arguments", "file"] + ["config"] * any(option.name == "--config" for option in form.options)
    kind = rng.choice(kinds)
    for _ in range(rng.choice((1, 1, 2))):
        if kind == "config":
            case.arguments.append(_wrong_setting(rng, keys))
        elif kind == "arguments" or not _damage(rng, case, folder):
            _change_arguments(rng, form, case.arguments)
    return case


# --- arguments and config keys --------------------------------------------------------------------------------------------


def _good_arguments(rng, form: Form) -> list[str]:
    """Those of an example of this form, or else what its parser requires."""
    known = {option.name for option in form.options}
    given = [line[len(form.words) :] for line in EXAMPLES if tuple(line[: len(form.words)]) == form.words]
    given = [line for line in given if all(_name(word) in known for word in line if word.startswith("--"))]
    return list(
        rng.choice(given or [[_written(option, _good(rng, option)) for option in form.options if option.required]])
    )


def _name(argument: str) -> str:
    return argument.partition("=")[0]


def _written(option: Option, value: str) -> str:
    if not option.name.startswith("-"):
        return value
    return option.name if option.kind == "flag" else f"{option.name}={value}"


def _good(rng, option: Option) -> str:
    """A value that an option may well take: one of its choices, or of an example's."""
    given = [word for line in EXAMPLES for word in line if "=" in word]
    same = [word.partition("=")[2] for word in given if _name(word) == option.name]
    other = ["1", "2", "0.5"] if option.kind == "number" else [word.partition("=")[2] for word in given]
    return rng.choice(option.choices or same or other)


def _change_arguments(rng, form: Form, arguments: list[str]) -> None:
    """Sets, adds, repeats or drops one argument."""
    place = rng.randrange(len(arguments) + 1)
    option = rng.choice(form.options or (Option("--none", "text", (), False),))
    bad = rng.choice(NUMBERS if rng.random() < (0.2 if option.kind == "text" else 0.8) else TEXTS)
    change = rng.choice([*4 * ["bad"], "good", "drop", "repeat", "unknown", "stray", "split", "bare"])
    if change in ("bad", "good"):
        value = bad if change == "bad" else _good(rng, option)
        arguments[:] = [argument for argument in arguments if _name(argument) != option.name] + [
            _written(option, value)
        ]
    elif change in ("drop", "repeat"):
        arguments[place : place + 1] = 2 * arguments[place : place + 1] if change == "repeat" else []
    else:
        new = {"unknown": [f"{option.name[:-1]}=1"], "stray": [bad], "split": [option.name, bad], "bare": [option.name]}
        arguments[place:place] = new[change]


def _wrong_setting(rng, keys: dict[str, object]) -> str:
    """A value, most often a wrong one, for one key of a config; now and then for a whole section or an unknown key."""
    head = rng.choice(sorted({key.partition(".")[0] for key in keys}))  # most keys are those of a run
    key = rng.choice([key for key in keys if key.partition(".")[0] == head or rng.random() < 0.05])
    default, key = keys[key], key.replace("NAME", rng.choice(plan.ROLES))
    near = [default, str(default), [default], {"a": default}, (default, default)]
    if isinstance(default, int | float):
        near += [-default, default + 0.5, default * 1000, 10**9 * default]
    value = repr(rng.choice(near)) if rng.random() < 0.3 else rng.choice(LITERALS)
    if rng.random() < 0.2:
        key = rng.choice(
            [key.rpartition(".")[0], key[:-1], key + ".x", key + ".", "." + key, "", key.replace(".", "..")]
        )
    return f"--config.{key}={value}"


# --- damaged files --------------------------------------------------------------------------------------------------------


def _damage(rng, case: Case, folder: Path) -> bool:
    """Damages a file or a folder among those that the arguments name; False if they name none."""
    names = [
        name for argument in case.arguments for name in re.split("[=,:]", argument) if name and name[0] not in "/.~"
    ]
    if not (paths := sorted({path for name in names for path in folder.glob(name)})):
        return False
    path = rng.choice(paths)
    while path.is_dir() and rng.random() < 0.95 and (below := sorted(path.iterdir())):
        path = rng.choice(below)
    others = [other.read_bytes() for other in sorted(path.parent.iterdir()) if other.is_file()]
    before = b"" if path.is_dir() else path.read_bytes()
    name = rng.choice(["remove", "junk"] if path.is_dir() else [*CHANGES, "token", "value", "value"])
    after = CHANGES[name](rng, before, others)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if after is not None:
        path.mkdir() if rng.random() < 0.05 else path.write_bytes(after)
    at = len(os.path.commonprefix([before, after or b""]))
    description = f"{path.relative_to(folder)}: {name} at byte {at}, {before[at:][:30]} -> {(after or b'')[at:][:30]}"
    case.damage += ", " * bool(case.damage) + description
    return True


def _flip(rng, content: bytes, others) -> bytes:
    changed = bytearray(content)
    for place in rng.choices(range(len(content)), k=rng.choice((1, 8))) if content else ():
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _line(rng, content: bytes, others) -> bytes:
    """One line twice, gone, halved, or with something beside it."""
    lines = content.splitlines(keepends=True) or [b"\n"]
    line = lines[place := rng.randrange(len(lines))]
    ways = (
        [line, line],
        [],
        [line.strip(), b",\r\n"],
        [b"\n", line],
        [b'"', line],
        [line[: len(line) // 2]],
        [rng.choice(JUNK), line],
    )
    lines[place : place + 1] = rng.choice(ways)
    return b"".join(lines)


def _token(rng, content: bytes, others) -> bytes:
    """Another number or text in the place of one, whatever the file is written in."""
    if not (tokens := list(re.finditer(rb'"[^"\n]*"|[\w.+-]+', content[:200_000]))):
        return rng.choice(JUNK)
    token = rng.choice(tokens)
    return content[: token.start()] + rng.choice(JSON + NUMBERS).encode() + content[token.end() :]


def _value(rng, content: bytes, others) -> bytes:
    """Another value, or none, at one place of a JSON file or of one of its lines."""
    try:
        try:
            lines = [json.loads(content)]
        except ValueError:
            lines = [json.loads(line) for line in content.splitlines()]
    except (ValueError, RecursionError):
        return _token(rng, content, others)
    at, key, mark = lines or [None], 0, "the new value"
    while isinstance(at[key], dict | list) and at[key] and rng.random() < 0.8:
        at = at[key]
        key = rng.choice([*at] if isinstance(at, dict) else range(len(at)))
    at[key] = mark
    if rng.random() < 0.3:
        del at[key]
    return "".join(json.dumps(line) + "\n" for line in lines).replace(f'"{mark}"', rng.choice(JSON)).encode()


CHANGES = {
    "remove": lambda rng, content, others: None,
    "junk": lambda rng, content, others: rng.choice(JUNK),
    "swap": lambda rng, content, others: rng.choice(others),
    "cut": lambda rng, content, others: content[: rng.randrange(len(content) + 1)],
    "flip": _flip,
    "line": _line,
    "token": _token,
    "value": _value,
}
