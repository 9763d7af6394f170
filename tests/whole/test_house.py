"""The rules of the house: which room may import which, how large a file and a function may be, what each room has."""

import ast
import collections
import itertools

from helpers import ROOT

PACKAGE = ROOT / "babel_jax"
# From the bottom up: a room may import itself and those before it.
FLOORS = (
    *("common", "languages", "organism", "corpus", "model", "training", "probes", "measuring", "evolution", "optimum"),
    *("suites", "study", "report", "cli", "__main__"),
)

MODULES = {  # dotted name -> file
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
TESTS = sorted((ROOT / "tests").rglob("*.py"))
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


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
