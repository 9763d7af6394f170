import contextlib
import dataclasses
import gzip
import json
import os
import resource
import stat
from pathlib import Path
from typing import Literal

import pytest
from helpers.commands import odd_places

from babel_jax.common import files
from babel_jax.common.errors import UserError


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 4 KiB, as if the disk were full (nor pytest's own log: keep what runs in here short)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_content_arrives_whole_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    files.write_atomic(path, b"\x00\xff")
    files.write_atomic(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_a_reader_never_sees_a_part(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    seen, replace = [], os.replace

    def watched(source, target):
        seen.append((path.read_text(), Path(source).read_text()))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    files.write_atomic(path, "new")
    assert seen == [("old", "new")] and path.read_text() == "new"


def test_full_disk_is_one_line_and_loses_nothing(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, "old")
    with full_disk(), pytest.raises(UserError) as error:
        files.write_atomic(path, b"x" * 5000)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]  # nothing half written stays behind


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        files.write_atomic(tmp_path / "file" / "inside", "y")


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [1, None]})
    assert files.read_json(tmp_path / "a.json") == {"x": [1, None]}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", float("nan"))
    (tmp_path / "broken.json").write_text('{"x":')
    for name in ("broken.json", "absent.json"):
        with pytest.raises(UserError, match=name):
            files.read_json(tmp_path / name)


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    sizes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Whole:
    part: Part
    kind: Literal["a", "b"]
    share: float | None = None
    by_name: dict[str, Part] = dataclasses.field(default_factory=dict)


WHOLE = Whole(Part("p", (1, 2)), "a", 0.5, {"q": Part("r")})


def test_a_dataclass_comes_back_from_json_as_it_was(tmp_path):
    files.write_json(tmp_path / "whole.json", dataclasses.asdict(WHOLE))
    assert files.read_record(tmp_path / "whole.json", Whole) == WHOLE
    files.write_json(tmp_path / "whole.json", {"part": {"name": "p", "more": 1}, "kind": "b", "share": None, "more": 2})
    assert files.read_record(tmp_path / "whole.json", Whole) == Whole(Part("p"), "b"), (
        "what it has no field for is left out"
    )


@pytest.mark.parametrize(
    "change, fault",
    [
        ({"part": None}, "part is null"),
        ({"part": {}}, "part has no 'name'"),
        ({"part": {"name": "p", "sizes": [1, "2"]}}, r"part.sizes\[1\] is '2'"),
        ({"kind": "c"}, "kind is 'c'"),
        ({"kind": ["a"]}, "kind is a list"),
        ({"share": "1"}, "share is '1'"),
        ({"by_name": {"q": {"name": 3}}}, "by_name.q.name is 3"),
    ],
)
def test_json_of_another_shape_than_a_dataclass_is_an_error(tmp_path, change, fault):
    value = dataclasses.asdict(WHOLE) | change
    files.write_json(tmp_path / "whole.json", value)
    with pytest.raises(UserError, match=f"whole.json is damaged, or not what should stand there: {fault}; put it back"):
        files.read_record(tmp_path / "whole.json", Whole, "put it back")
    lines = "".join(json.dumps(line) + "\n" for line in (dataclasses.asdict(WHOLE), value)).encode()
    with pytest.raises(UserError, match=f"w.jsonl, line 2, is damaged: {fault}; delete it"):
        files.records(lines, "w.jsonl", Whole, "delete it")
    with pytest.raises(ValueError, match=fault):
        files.parse_json(json.dumps(value), files.shape_of(Whole))


def test_records_of_whole_lines():
    line = json.dumps(dataclasses.asdict(WHOLE)).encode()
    assert files.records(files.whole_lines(line + b"\n" + line + b"\n" + line[:9]), "f", Whole, "mend it") == [
        WHOLE,
        WHOLE,
    ]
    assert files.records(files.whole_lines(line), "f", Whole, "mend it") == []


def test_content_hash_ignores_the_order_of_keys_only():
    assert files.content_hash({"a": 1, "b": 2}) == files.content_hash({"b": 2, "a": 1})
    assert files.content_hash([1, 2]) != files.content_hash([2, 1])
    assert len(files.content_hash(b"")) == 16


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../x", "a/b", "/a", "a\0b", "a\nb", "\udcff", "x" * 200, 3, None]
)
def test_a_name_that_leads_elsewhere_or_cannot_be_shown_is_refused(name):
    with pytest.raises(UserError, match="the suite is .*as the name of a file"):
        files.safe_name(name, "the suite")
    assert files.safe_name("HumanEval.v2 é", "the suite") == "HumanEval.v2 é"


@pytest.mark.parametrize(
    "place, message",
    [
        ("", "a path is empty"),
        ("a\0b", r"a\\x00b holds a NUL"),
        ("\udcff", "not UTF-8"),
        ("x" * 300, "is too long"),
        ("é" * 128, "is too long"),
        ("x/" * 2100, "is too long"),
        ("http://x/y", "cannot work in"),
        ("gs://", "cannot work in"),
    ],
)
def test_a_path_that_can_be_none(place, message):
    with pytest.raises(UserError, match=message) as error:
        files.path(place)
    assert len(str(error.value)) < 500


def test_only_plain_files_are_read_and_written(tmp_path):
    for name in odd_places(tmp_path):
        with pytest.raises(UserError, match="cannot read .*; check the path"):
            files.read_bytes(tmp_path / name)
    for name in ("pipe", "."):
        with pytest.raises(UserError, match="cannot write .*; name a file"):
            files.write_atomic(tmp_path / name, "x")
    assert (tmp_path / "pipe").is_fifo(), "a pipe or a device is not replaced by a file"


BENT = {
    "[" * 100_000: "too many brackets",
    '{"a":' * 100_000: "too many brackets",
    '{"a": ' + "9" * 400 + "}": "a whole number of 400 digits",
    '{"a": ' + "9" * 5000 + "}": "a whole number of 5000 digits",
    '{"a": 1e999}': "1e999 is too large",
    '{"a": NaN}': "NaN is not a number",
    '{"a": -Infinity}': "-Infinity is not a number",
    '{"a": 1, "a": 2}': "the key 'a' is there twice",
    '{"a": 1': "Expecting",
    "": "Expecting value",
}


@pytest.mark.parametrize("text", BENT, ids=lambda text: text[:12])
def test_json_that_no_program_can_rely_on(tmp_path, text):
    with pytest.raises(ValueError, match=BENT[text]) as error:
        files.parse_json(text)
    assert len(str(error.value)) < 100
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=f"cannot read .*a.json as JSON .*{BENT[text]}"):
        files.read_json(tmp_path / "a.json")


def test_lines_of_json_in_every_coat(tmp_path):
    lines = '\ufeff{"a": 1}\r\n\r\n \t\n\ufeff{"a": "\u2028\\u0000"}'
    wanted = [(1, {"a": 1}), (4, {"a": "\u2028\0"})]
    for content in (lines.encode(), gzip.compress(lines.encode())):
        assert list(files.json_lines(content, "f", "mend it.")) == wanted
    for content, message in {
        '{"a": 1}\n{"a"': r"^f, line 2: not JSON \(.*\) \(the file ends here: was it cut off\?\); mend it",
        '{"a": "\\ud800"}': r"line 1: not JSON \(it holds half a character, \\ud800\)",
        "{}\n\0": "line 2: not JSON",
    }.items():
        with pytest.raises(UserError, match=message):
            list(files.json_lines(content.encode(), "f", "mend it."))
    for content, message in {
        "{}".encode("utf-16"): "it is UTF-16; save it as UTF-8",
        b"{}\xff": "its byte 3 is not UTF-8",
        gzip.compress(b"{}" * 99)[:-9]: "cannot read f",
        b"\x1f\x8b": "cannot read f",
    }.items():
        with pytest.raises(UserError, match=message):
            list(files.json_lines(content, "f", "mend it."))
