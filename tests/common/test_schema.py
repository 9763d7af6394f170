"""What keys of configs, manifests and mixture files may be; every key that is declared is tried, without being named here."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from ml_collections import ConfigDict

from babel_jax.__main__ import main
from babel_jax.common import files
from babel_jax.common.errors import UserError
from babel_jax.common.schema import (
    REQUIRED,
    Key,
    Number,
    Place,
    Section,
    Table,
    explained,
    merged,
    walk,
)
from babel_jax.corpus import manifest, mixture_files
from babel_jax.study import plan
from babel_jax.training import config as run_config

TINY = f"{ROOT}/configs/organism.py:tiny"
WRONG = {  # for whatever key
    "none": None,
    "dots": ...,
    "complex": 3j,
    "set": {1},
    "bytes": b"x",
    "object": object(),
    "function": print,
    "array": np.array([1, 2]),
    "nan": float("nan"),
    "infinite": 1e400,
    "minus infinite": -1e400,
    "400 digits": 10**400,
    "5000 digits": 10**5000,
    "nothing in nothing": [[[[]]]],
    "a section of nothing": {"\0": {}},
    "control characters": "\x1b[2J",
    "a half filled placeholder": (ConfigDict({"tokens": None}),),
}


def refused(changes) -> str:
    with pytest.raises(UserError) as error:
        plan.from_changes(changes)
    assert str(error.value).isprintable() and len(str(error.value)) < 600
    return str(error.value)


def settable(section: Section) -> dict[str, Key]:
    """The keys that an argument can name: those of lists cannot be; of the runs, one stands for all."""
    return {key.replace("NAME", "mix"): about for key, about in walk(section) if ".N." not in key}


def nested(key: str, value) -> dict:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(
    "section", [plan.STUDY, manifest.MANIFEST, manifest.SOURCE, manifest.LANGUAGE, mixture_files.FILE]
)
def test_every_key_says_what_it_is_and_takes_its_default(section):
    for key, about in walk(section):
        assert about.meaning and about.kind.wants, key
        if about.default not in (REQUIRED, None):
            assert about.kind.check(about.default, Place()) == about.default, key
    assert len(list(walk(section))) >= len(section.keys)


def help_of(capsys, *command: str) -> dict[str, str]:
    """{key: what is said of it} of a list of all keys that a command prints."""
    with pytest.raises(SystemExit) as ended:
        main(list(command))
    printed = capsys.readouterr().out
    assert ended.value.code == 0 and max(map(len, printed.splitlines())) <= 100
    blocks = re.findall(r"^([\w.]+).*\n((?:    .*\n)+)", printed, re.MULTILINE)
    return {key: " ".join(text.split()) for key, text in blocks}


@pytest.mark.parametrize(
    "command, section",
    [
        *((f"{verb} --help_config", plan.STUDY) for verb in ("study", "train", "probe", "evaluate", "compile")),
        ("corpus build --help_manifest", manifest.MANIFEST),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_key_is_in_the_help(capsys, command, section):
    """One that a section has at a second place, as runs have those of `common`, by the name of the first."""
    explanations = help_of(capsys, *command.split())
    for key, about in walk(section):
        head, _, below = key.partition(".NAME.")
        if below and (same := re.search(r"The keys are those of (\S+)\.$", explanations[head])):
            key = f"{same[1]}.{below}"
        meaning = " ".join(about.meaning.split())
        assert explanations[key].lower().startswith(f"{meaning}.".lower()), key
    assert len(explanations) == len(list(walk(section))) - ("runs" in explanations) * len(list(walk(run_config.RUN)))


def test_the_help_says_what_a_key_must_be_and_its_default():
    section = Section(
        {
            "rate": Key(Number(above=0), 0.5, "how fast"),
            "where": Key(Section({"low": Key(Number(low=0), REQUIRED, "least")}), {}, "bounds"),
            "again": Key(Table(Section({"low": Key(Number(), None, "other")})), {}, "more"),
        }
    )
    lines = [
        *("rate = 0.5", "    How fast. A number above 0.", "where", "    Bounds."),
        *("where.low (required)", "    Least. A number of at least 0."),
        *("again = {}", "    More. NAME is a name.", "again.NAME.low", "    Other. A number."),
    ]
    assert explained(section).splitlines() == lines


CONFIGS = sorted(path.stem for path in Path(ROOT, "configs").glob("*.py"))


@pytest.mark.parametrize("name", CONFIGS)
def test_comments_of_a_config_give_reasons_and_do_not_explain_its_keys(name):
    """What a key means, `--help_config` says; a comment that says it again would be the second place."""
    comments = re.findall(r"#(.*)", Path(ROOT, "configs", f"{name}.py").read_text().split('"""')[2])
    explaining = [comment for comment in comments if re.search(r"`\w+`", comment)]
    assert explaining == []


WHOLE = ("mesh",)  # sections that are read with all their keys at once


@pytest.mark.parametrize(
    "section", [plan.STUDY, manifest.MANIFEST, mixture_files.FILE], ids=["study", "manifest", "mixture"]
)
def test_every_setting_is_read(section):
    """By its name, as an attribute or an item, somewhere in the package."""
    read = set()
    for file in Path(ROOT, "babel_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
            elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                read.add(node.slice.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
                read |= {argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)}
    keys = [key.split(".") for key, about in walk(section) if not isinstance(about.kind, Section)]
    assert [key for key in keys if key[-1] not in read and key[-2] not in WHOLE] == []
    assert set(WHOLE) <= read and "nothing_of_this_name" not in read


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_every_key_refuses_what_it_is_not_and_is_named(value):
    """Those of a run are tried in `common` and in a role; a section is a key, too."""
    keys = settable(plan.STUDY)
    assert {"seeds", "common", "common.optimizer.b1", "runs.mix.steps", "world.words", "common.stages"} <= set(keys)
    for key in keys:
        assert key in refused(nested(key, value)), key


def test_every_number_has_bounds_and_every_section_is_one():
    for key, about in settable(plan.STUDY).items():
        if about.kind.takes(1) and key != "world.shared_words":
            assert key in refused(nested(key, -2)), key  # -1 is an axis that is filled in
            assert key in refused(nested(key, "1")), key
            assert key in refused(nested(key, True)), key
            assert key in refused(nested(key, 2e300)), key
        if isinstance(about.kind, Section):
            assert f"{key} must be a table of" in refused(nested(key, "adamw")), key
            assert f"unknown config key '{key}.nothing'" in refused(nested(key, {"nothing": 1})), key
        if about.kind.takes(""):
            assert key in refused(nested(key, 3)), key


@pytest.mark.parametrize(
    "key, right, wrong",
    [
        ("seeds", [(0,), [3, 1], (2**32 - 1,)], [(), (0, 0), (-1,), (1.0,), (True,), (2**32,), 3, ("0",)]),
        ("sweep", [(), (0, 0.5, 1)], [(0.5, 0.5), (1.1,), 0.5]),
        ("replay", [(0.25,)], [(0.25, 0.25), (-0.1,)]),
        ("candidates", [("unimax",)], [("unimax", "unimax"), "unimax", (3,)]),
        ("original", [{"python": 11, "php": 2.5}], [{"php": 0}, {"php": -1}, {3: 1}, {"": 1}, {"a.b": 1}, (1,)]),
        ("swarm", [0, 4], [-1, 1.0]),
        ("common.steps", [1, 10**6], [0, 1.0, 2**31]),
        ("common.batch_size", [1, 4096], [0, 2**21]),
        ("common.stop_accuracy", [0, 0.99], [1, -0.1]),
        ("common.checkpoint_steps", [(), (0, 5), [3]], [(1, 1), (-1,), (1.5,)]),
        ("common.checkpoint_growth", [0, 0.0, 1.3, 2], [1, 0.5, 1e9]),
        ("common.resume_minutes", [0, 0.5], [-1]),
        ("common.max_epochs", [0, 4, 0.5], [-0.5]),
        ("common.model.tied_head", [True, False], [0, 1, "True"]),
        ("common.mesh.fsdp", [-1, 1, 8], [0, -2, 1.0]),
        ("common.optimizer.learning_rate", [1, 1e-3, 1e-9], [0, 0.0, -1e-3, 1e-300, 1e39]),
        ("common.optimizer.final_learning_rate", [0, 1e-5], [-1e-9, 1e39]),
        ("common.optimizer.b1", [0, 0.9], [1, 1.0, -0.1]),
        ("common.optimizer.b2", [0, 0.999], [1, 1 - 1e-9]),
        ("common.optimizer.epsilon", [1e-8, 1e-15, 1], [0, -1e-8, 1e-60]),
        ("common.optimizer.clip_norm", [1, 1e9], [0, -1.0]),  # 0 would take every gradient away
        ("common.optimizer.label_smoothing", [0, 0.1], [1, -0.1]),
        ("common.optimizer.weight_decay", [0, 0.1], [-0.1]),
        ("common.optimizer.multipliers", [{"head$": 6, "^embed": 0.0}], [{"(": 1}, {"head$": -1}, {"a.b": 1}, ("a",)]),
        ("common.optimizer.decayed", ["", "blocks/.*kernel$"], ["(", "[[a", "a" + "(" * 500]),
        (
            "common.stages",
            [({"tokens": 2e9, "weights": {"python": 1}}, {"tokens": 0, "weights": {"php": 0.5}})],
            [
                *((3,), (), ({},), ({"tokens": 0},), ({"tokens": 0, "weights": 1},), {"tokens": 0, "weights": {}}),
                ({"tokens": 0, "weights": {"php": -1}},),
                ({"tokens": 1.5, "weights": {"php": 1}},),
                ({"tokens": 0, "weights": {None: 1}},),
                ({"tokens": 0, "weights": {"php": 1}, "token": 1},),
            ],
        ),
        ("world.shared_words", [80, {"php": 80}], [0, {"php": 0}, {"php": None}, (80,), 1.5]),
        ("world.noise_share", [0, 1, 0.05], [-0.1, 1.1]),
    ],
)
def test_ranges(key, right, wrong):
    for value in right:
        plan.from_changes(nested(key, value))
    for value in wrong:
        assert key in refused(nested(key, value)), value


def test_what_is_left_out_is_as_by_default_and_whole_numbers_become_floats_where_floats_are_meant():
    given = {"steps": 7, "optimizer": {"learning_rate": 1, "multipliers": {"head$": 2}}, "checkpoint_steps": [3]}
    run = run_config.override(run_config.default(), given)
    assert (run.steps, run.checkpoint_steps, run.optimizer.b1) == (7, (3,), 0.9)
    assert isinstance(run.optimizer.learning_rate, float) and run.optimizer.multipliers.to_dict() == {"head$": 2}
    both = run_config.override(run, {"optimizer": {"multipliers": {"embed": 3.0}}})
    assert both.optimizer.multipliers.to_dict() == {"head$": 2, "embed": 3.0} and both.optimizer.learning_rate == 1
    assert merged({"a": {"b": 1}, "c": 2}, {"a": {"d": 3}, "c": {}}) == {"a": {"b": 1, "d": 3}, "c": {}}


def test_a_number_of_many_digits_can_be_stored_and_read_again():
    (minutes,) = Section({"minutes": Key(Number(low=0), 0.0, "")}).check({"minutes": 10**30}).values()
    assert minutes == 1e30 and files.parse_json(json.dumps(minutes)) == minutes
