"""The rules of the house: which room may import which, how large a file and a function may be, what each room has."""

import ast
import collections
import itertools
import re
import subprocess
import sys

import pytest
from helpers import ROOT, environment

PACKAGE = ROOT / "babel_jax"
# From the bottom up: a room may import itself and those before it.
FLOORS = (
    *("common", "languages", "organism", "corpus", "model", "training", "probes", "measuring", "evolution", "optimum"),
    *("suites", "study", "report", "cli", "__main__"),
)
MOST_LINES = 500  # of a file
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 6
MOST_LINES_OF_A_README = 200
ABOUT_A_ROOM = {  # files of tests that are not named after a module, and what they are about
    "cli/test_main.py": "how a command ends, which __main__.py decides",
    "corpus/test_own_languages.py": "a corpus of a language of the user's own, from its manifest to its statistics",
    "languages/test_debian.py": "a corpus of each language, built from packages",
    "languages/test_shipped.py": "the languages' own files",
    "study/test_study_of_facts.py": "a study whose accuracy is that of facts, which several rooms measure",
    "study/test_whole_study.py": "a study from its verb to its report",
    "suites/test_cheats.py": "programs that try to pass, through toolchain, sandbox and judge",
}

MODULES = {  # dotted name -> file
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def imports(name: str) -> set[str]:
    """The modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: a relative import in line {node.lineno}"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & MODULES.keys() or {node.module}
    return (found & MODULES.keys()) - {name, "babel_jax"}


def room_of(name: str) -> str:
    return name.split(".")[1] if name.count(".") else ""


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parameters(function: ast.FunctionDef) -> int:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def test_the_floors_name_every_room():
    assert sorted({*FLOORS} - {"__main__"}) == ROOMS


def test_only_the_entry_is_loose_at_the_top_of_the_package():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_imports_point_downwards():
    upwards = [
        f"{name} imports {imported}"
        for name in MODULES
        for imported in imports(name)
        if name != "babel_jax" and FLOORS.index(room_of(name)) < FLOORS.index(room_of(imported))
    ]
    assert upwards == []


def test_no_module_imports_itself_by_way_of_others():
    open_modules, done = [], set()

    def visit(name):
        if name in open_modules:
            raise AssertionError(" imports ".join([*open_modules[open_modules.index(name) :], name]))
        if name not in done:
            open_modules.append(name)
            for imported in sorted(imports(name)):
                visit(imported)
            done.add(open_modules.pop())

    for name in MODULES:
        visit(name)


def test_no_two_modules_have_one_name():
    names = collections.Counter(path.name for path in MODULES.values() if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_what_begins_with_an_underscore_is_used_in_its_own_module_alone():
    private = []
    for name, tree in TREES.items():
        modules = set()  # names that stand for modules of the package
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("babel_jax"):
                private += [f"{name}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
                modules |= {a.asname or a.name for a in node.names if f"{node.module}.{a.name}" in MODULES}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                private += [f"{name}: {node.value.id}.{node.attr}"] * (node.attr[0] == "_" != node.attr[:2][-1:])
    assert private == []


def test_files_and_functions_are_small():
    large = [
        f"{path.relative_to(ROOT)}: {len(path.read_text().splitlines())} lines"
        for path in MODULES.values()
        if len(path.read_text().splitlines()) > MOST_LINES
    ]
    for name, function in ((name, function) for name, tree in TREES.items() for function in functions(tree)):
        lines = function.end_lineno - function.lineno + 1
        if lines > MOST_LINES_OF_A_FUNCTION:
            large.append(f"{name}.{function.name}: {lines} lines")
        if parameters(function) > MOST_PARAMETERS:
            large.append(f"{name}.{function.name}: {parameters(function)} parameters")
    assert large == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_in_a_readme_what_it_is_for_and_what_to_read_first(room):
    text = (PACKAGE / room / "README.md").read_text()
    lines = re.sub(r"(?ms)^```.*?^```$", "", text).splitlines()  # without what recipes write
    assert lines[0].startswith("# ") and len(lines) <= MOST_LINES_OF_A_README
    files = {path.name for path in (PACKAGE / room).rglob("*.*")}
    assert len([name for name in files if any(f"{name}`" in line for line in lines)]) >= 3


def test_a_file_of_tests_is_named_after_a_module_of_its_room():
    strays = set()
    for path in TESTS:
        room, *_ = path.relative_to(ROOT / "tests").parts
        if path.name.startswith("test_") and room != "whole":
            name = path.stem.removeprefix("test_")
            if not (*(PACKAGE / room).rglob(f"{name}.py"), *(PACKAGE / room).rglob(f"{name}/__init__.py")):
                strays.add(str(path.relative_to(ROOT / "tests")))
    assert strays == ABOUT_A_ROOM.keys()


def test_files_of_tests_do_not_import_each_other():
    names = {path.stem for path in TESTS if path.name.startswith("test_")}
    bad = []
    for path in TESTS:
        words = itertools.chain.from_iterable(
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
        )
        bad += [f"{path.relative_to(ROOT)} imports {word}" for word in words if word.split(".")[-1] in names]
        texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
        bad += [
            f"{path.relative_to(ROOT)} runs code that imports {name}"
            for name in names
            if any(isinstance(text, str) and f"import {name}" in text for text in texts)
        ]
    assert bad == []


@pytest.mark.processes
def test_the_quick_tests_touch_every_room():
    marks = re.search(r'--quick\) selection=\(-m "([^"]+)"\)', (ROOT / "launch" / "test.sh").read_text())[1]
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-m", marks]
    collected = subprocess.run(collect, cwd=ROOT, env=environment(), capture_output=True, text=True).stdout.splitlines()
    tests = collections.Counter(line.split("/")[1] for line in collected if line.startswith("tests/"))
    assert min(tests[room] for room in ROOMS) >= 5
    assert not any("test_a_recipe_followed" in line for line in collected)
