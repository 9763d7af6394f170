"""Recipes of the rooms' READMEs, as steps that can be carried out in a copy of the project.

A recipe is a section "## To add …". Each fenced block in it follows a line that says what to do with it:

    Create `PATH`:                   the block is the whole file
    In `PATH`, add to `NAME`:        it goes before the closing bracket of that table (a tuple, list, dict or set, or a
                                     call that takes one) at the top level of the module
    In `PATH`, after `TEXT`:         it goes behind the only line that holds the text
    Run:                             bash, at the root of the project
    It prints:                       each line is a part of a line of the last output, in this order
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from helpers import ROOT

SECTION = re.compile(r"^## (To add .*?)$\n(.*?)(?=^## |\Z)", re.M | re.S)
BLOCK = re.compile(r"^(?P<asks>[^\n]*)\n\n```\w*\n(?P<block>.*?)^```$", re.M | re.S)
CREATE = re.compile(r"Create `([^`]+)`:$")
ADD = re.compile(r"[Ii]n `([^`]+)`, add to `([^`]+)`:$")
AFTER = re.compile(r"[Ii]n `([^`]+)`, after `([^`]+)`:$")
PATIENCE = 300  # seconds; a recipe takes some twenty where nothing else runs


@dataclass(frozen=True)
class Recipe:
    """A section of a README: its room, its title, and its steps (what is asked, block)."""

    room: str
    title: str
    steps: tuple[tuple[str, str], ...]

    def __str__(self):
        return f"{self.room}: {self.title}"


def recipes() -> list[Recipe]:
    """The recipes of all rooms; a fenced block of a recipe that no step asks for is an error."""
    all_recipes = []
    for readme in sorted(Path(ROOT, "babel_jax").rglob("README.md")):
        for title, text in SECTION.findall(readme.read_text()):
            steps = tuple((match["asks"], match["block"]) for match in BLOCK.finditer(text))
            assert 2 * len(steps) == len(re.findall(r"^```", text, re.M)), f"{readme}, {title}: a block without a step"
            assert any(asks.endswith("Run:") for asks, _ in steps), f"{readme}, {title}: nothing shows that it works"
            all_recipes.append(Recipe(readme.parent.name, title, steps))
    return all_recipes


def created(title: str, path: str) -> types.ModuleType:
    """A file of Python that the recipe of this title creates, as a module."""
    (recipe,) = (recipe for recipe in recipes() if recipe.title == title)
    (text,) = (block for asks, block in recipe.steps if asks.endswith(f"Create `{path}`:"))
    module = types.ModuleType(path)
    exec(compile(text, path, "exec"), vars(module))
    return module


def copy_of_the_project(place: Path) -> Path:
    """The files that a clone of this working tree would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, place / name)
    return place


def follow(recipe: Recipe, project: Path) -> None:
    """Carries out a recipe's steps in a copy of the project; AssertionError if one cannot be, or does not do what it says."""
    output = ""
    for asks, block in recipe.steps:
        if match := CREATE.search(asks):
            path = project / match[1]
            assert not path.exists(), f"{match[1]} is there already"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
        elif match := ADD.search(asks):
            add_to(project / match[1], match[2], block)
        elif match := AFTER.search(asks):
            insert_after(project / match[1], match[2], block)
        elif asks.endswith("Run:"):
            output = run(block, project)
        elif asks.endswith("It prints:"):
            check_printed(block, output)
        else:
            raise AssertionError(f"nothing says what to do with a block: {asks!r}")


def add_to(path: Path, name: str, block: str) -> None:
    text = path.read_text()
    for node in ast.parse(text).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if [getattr(target, "id", None) for target in targets] == [name]:
            lines = text.splitlines(keepends=True)
            last = node.value.end_lineno - 1
            assert lines[last].strip() in (")", "]", "}", "})", "])", "))"), f"{path}: {name} ends in {lines[last]!r}"
            path.write_text("".join([*lines[:last], block, *lines[last:]]))
            return
    raise AssertionError(f"{path} has no {name}")


def insert_after(path: Path, text: str, block: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    at = [number for number, line in enumerate(lines) if text in line]
    assert len(at) == 1, f"{path}: {len(at)} lines hold {text!r}"
    path.write_text("".join([*lines[: at[0] + 1], block, *lines[at[0] + 1 :]]))


def run(script: str, project: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=project,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{script}\nended with status {done.returncode}:\n{done.stdout[-3000:]}"
    return done.stdout


def check_printed(block: str, output: str) -> None:
    rest = iter(output.splitlines())
    for wanted in filter(None, map(str.strip, block.splitlines())):
        assert any(wanted in line for line in rest), (
            f"{wanted!r} was not printed, or not in this place:\n{output[-3000:]}"
        )
