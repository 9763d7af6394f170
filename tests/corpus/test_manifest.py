import dataclasses
import json
import math
import os

import pytest
from helpers import ROOT

from babel_jax.common.errors import UserError
from babel_jax.corpus import manifest, rules
from babel_jax.corpus.licences import PERMISSIVE

YAML = """
vocab_size: 512
max_length: 64
languages:
  python:
    max_megabytes: 60
    sources:
      - path: code/lib.tar.gz
        licence: PSF-2.0
      - path: s3://bucket/data/*.parquet
        columns: {content: text, language: lang}
        language: Py
  php:
    sources: [code/php, {path: file:///data/php, name: web}]
clean: {quality: false, near_duplicates: {threshold: 0.8}}
"""


def test_a_manifest_is_complete_and_stays_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(YAML)
    made = manifest.load("m.yaml")
    assert list(made.languages) == ["python", "php"] and made.tokenizer is None and made.vocab_size == 512
    archive, table = made.languages["python"].sources
    assert dataclasses.asdict(archive) == {
        "path": str(tmp_path / "code/lib.tar.gz"),
        "format": "auto",
        "name": "lib",
        "licence": ("PSF-2.0",),
        "columns": {"content": "content", "path": None, "project": None, "licence": None, "language": None},
        "language": None,
    }
    assert (table.path, table.name) == ("s3://bucket/data/*.parquet", "data")
    assert table.columns["content"] == "text" and table.columns["language"] == "lang"
    folder, local = made.languages["php"].sources
    assert folder.name == "php" and local.path == "/data/php" and local.name == "web"
    assert made.languages["php"].max_megabytes is None
    steps = dataclasses.asdict(made.clean)
    assert (*steps, "cap") == rules.STEPS
    assert steps | {"licence": None} == {
        "licence": None,
        **dict.fromkeys(("size", "encoding", "generated", "vendored", "exact_duplicates"), True),
        "near_duplicates": {"threshold": 0.8, "by": "rensa"},
        "decontaminate": (),
        "redact": True,
        "quality": False,
    }
    assert manifest.check(made.record(), "again") == made
    assert manifest.check(json.loads(json.dumps(made.record())), "again") == made


def test_the_primary_language_of_the_recipes_comes_first():
    for recipe in (ROOT / "configs/corpora").glob("*.py"):
        first = ["en", "de"] if recipe.stem == "natural" else ["python", "php"]
        assert list(manifest.load(recipe).languages)[:2] == first, recipe


def test_json_and_config_files_say_the_same_as_yaml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = {"languages": {"php": {"sources": [{"path": "a", "licence": ["MIT", "0BSD"]}]}}}
    (tmp_path / "m.json").write_text(json.dumps(raw))
    (tmp_path / "m.yml").write_text(json.dumps(raw))
    (tmp_path / "m.py").write_text(
        f"def get_config(path='a'):\n    raw = {raw!r}\n"
        "    raw['languages']['php']['sources'] = ({'path': path, 'licence': ('MIT', '0BSD')},)\n    return raw"
    )
    made = manifest.load("m.json")
    assert manifest.load("m.yml") == made == manifest.load("m.py")
    assert manifest.load("m.py:b").languages["php"].sources[0].name == "b"


def test_yaml_may_merge_tables(tmp_path):
    (tmp_path / "m.yaml").write_text(
        "languages:\n  php: {sources: [&one {path: a, licence: MIT}, {<<: *one, path: b}]}\n"
    )
    sources = manifest.load(tmp_path / "m.yaml").languages["php"].sources
    assert [(source.name, source.licence) for source in sources] == [("a", ("MIT",)), ("b", ("MIT",))]


def test_tables_that_merge_each_other_do_not_grow_without_end(tmp_path):
    """Nine levels of ten: a thousand million keys, if each were kept."""
    lines = ["x0: &x0 {path: a, licence: MIT}"]
    lines += [f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}" for n in range(1, 10)]
    (tmp_path / "m.yaml").write_text("\n".join([*lines, "languages: {php: {sources: [*x9]}}"]))
    with pytest.raises(UserError, match="m.yaml: unknown key 'x0'"):
        manifest.load(tmp_path / "m.yaml")


def test_licences_count_where_sources_tell_them():
    def licences(clean, **source):
        raw = {"languages": {"php": {"sources": [{"path": "a"}, {"path": "b"} | source]}}, "clean": clean}
        return manifest.check(raw, "m").clean.licence

    assert licences({}) is False
    assert licences({}, licence="MIT") == PERMISSIVE == licences({}, columns={"licence": "license"})
    assert licences({"licence": False}, licence="MIT") is False
    assert licences({"licence": ["GPL-3.0"]}) == ("GPL-3.0",) and licences({"licence": True}) == PERMISSIVE


def test_sources_of_the_command_line():
    made = manifest.of_sources({"python": ["a/src", "/b/src", "/b/src.zip"]}, vocab_size=300, max_length=32)
    assert [source.name for source in made.languages["python"].sources] == ["src", "src-2", "src-3"]
    assert made.vocab_size == 300 and made.max_length == 32
    with pytest.raises(UserError, match="--source: languages.pyton: unknown language 'pyton'; did you mean 'python'"):
        manifest.of_sources({"pyton": ["a"]}, vocab_size=300, max_length=32)


def of(**changes):
    return {"languages": {"php": {"sources": [{"path": "a"}]}}} | changes


def of_source(**source):
    return of(languages={"php": {"sources": [{"path": "a"} | source]}})


@pytest.mark.parametrize(
    "raw, message",
    [
        ([], "^m must be a table of vocab_size"),
        ({}, "m must have the key 'languages'"),
        (of(languages={}), "m: languages must be a table of at least 1, each a table of"),
        (of(languages={"php": None}), "m: languages.php must be a table"),
        (
            of(languages={"php": {"sources": []}}),
            "m: languages.php.sources must be a list of at least 1, each a path or a table",
        ),
        (of(languages={"php": {"sources": "a"}}), "m: languages.php.sources must be a list of .*, not 'a'"),
        (of(languages={"php": {}}), "m: languages.php must have the key 'sources'"),
        (of(languages={"php": {"sources": [7]}}), r"m: languages.php.sources.0 must be a path or a table of path"),
        (
            of(languages={"php": {"sources": ["a"], "max_megabytes": 0}}),
            "max_megabytes must be a number above 0, not 0",
        ),
        (
            of(languages={"php": {"sources": ["a"], "max_megabytes": math.nan}}),
            "max_megabytes must be a number above 0",
        ),
        (of(languages={"php": {"sources": ["a"], "max_megabytes": 10**400}}), "max_megabytes must be a number above 0"),
        (of(clean={"near_duplicates": {"threshold": 10**400}}), "threshold must be a number above 0"),
        (of_source(path="~nobody-of-this-name/x"), "sources.0.path is ~nobody-of-this-name/x, whose ~ stands for no"),
        (of_source(pth="b"), "m: languages.php.sources.0: unknown key 'pth'; did you mean 'path'"),
        (of_source(path=" "), "sources.0.path must be a folder, an archive or a data file, not"),
        (
            of_source(path="s3://*.jsonl/x"),
            r"m: languages.php.sources has the path s3://\*.jsonl/x, which names nothing",
        ),
        (of_source(format="json"), "sources.0.format: unknown format 'json'; did you mean 'jsonl'"),
        (of_source(licence=3), "sources.0.licence must be the name of a licence"),
        (of_source(licence=[]), "sources.0.licence must be a list of at least 1, each the name of a licence"),
        (of_source(name="a/b"), "sources.0.name is 'a/b'; a source's name leads the paths"),
        (of_source(columns={"contents": "a"}), "sources.0.columns: unknown key 'contents'; did you mean 'content'"),
        (of_source(columns={"content": 1}), "sources.0.columns.content must be a name, not 1"),
        (of_source(language="PHP"), "sources.0.language says which rows count, but columns.language"),
        (of(vocab_size=10, tokenizer="t"), "m has both vocab_size and tokenizer"),
        (of(vocab_size=True), "m: vocab_size must be a whole number of at least 1, not True"),
        (of(max_length="x"), "m: max_length must be a whole number of at least 1, not 'x'"),
        (of(prompts_per_pair=-1), "m: prompts_per_pair must be a whole number of at least 0, not -1"),
        (of(clean=[]), "m: clean must be a table of licence"),
        (of(clean={"qualty": True}), "m: clean: unknown key 'qualty'; did you mean 'quality'"),
        (of(clean={"redact": 1}), "m: clean.redact must be true or false, not 1"),
        (of(clean={"licence": "MIT"}), "m: clean.licence must be true or false or a list"),
        (of(clean={"decontaminate": True}), "m: clean.decontaminate must be false or a list, each a suite"),
        (
            of(clean={"near_duplicates": {"threshold": 1.5}}),
            "near_duplicates.threshold must be a number above 0 and of at most 1, not 1.5",
        ),
        (
            of(clean={"near_duplicates": {"by": "rense"}}),
            "near_duplicates.by: unknown method 'rense'; did you mean 'rensa'",
        ),
        (of(language={}), "m: unknown key 'language'; did you mean 'languages'"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(raw, message):
    with pytest.raises(UserError, match=message) as caught:
        manifest.check(raw, "m")
    assert "\n" not in str(caught.value) and str(caught.value).endswith((".", "?"))


def test_two_sources_cannot_lead_paths_with_one_name():
    raw = of(languages={"php": {"sources": [{"path": "a", "name": "x"}, {"path": "b", "name": "x"}]}})
    with pytest.raises(UserError, match="languages.php.sources has two sources named 'x'"):
        manifest.check(raw, "m")


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("m.yaml", "languages: {php: {sources: [a]}, php: {sources: [b]}}", "the key 'php' is there twice"),
        ("m.json", '{"languages": {}, "languages": {}}', "the key 'languages' is there twice"),
        ("m.yaml", "languages: [", "cannot read the manifest .*m.yaml"),
        ("m.yaml", "[" * 5000, "cannot read the manifest .*m.yaml"),
        ("m.yaml", "languages: !!timestamp x", "cannot read the manifest .*m.yaml"),
        ("m.json", "[" * 100_000, "cannot read the manifest .*m.json"),
        ("m.json", b"\xff", "cannot read .*m.json as text"),
        ("m.yaml", "", "m.yaml must be a table of vocab_size"),
        ("m.yaml", "languages: {no: {sources: [a]}}", "languages.False must be one of python, php"),
        ("m.yaml", "languages: {php: {sources: [2020-01-01]}}", r"sources.0 must be a path or .*, not datetime.date"),
        ("m.yaml", "languages: {php: {sources: [a]}}\nmax_length: 01024", "01024 is a number of base 8 or 60 in YAML"),
        ("m.yaml", "languages: {php: {sources: [a], max_megabytes: 1:30.5}}", "1:30.5 is a number of base 8 or 60"),
        (
            "m.yaml",
            "languages: {php: &a {sources: [*a]}}",
            "unconstructable recursive node",
        ),
        ("m.yaml", "languages: {php: {sources: [&a [*a]]}}", "unconstructable recursive node"),
        ("m.yaml", "languages: {php: {sources: !!set {a, b}}}", "languages.php.sources must be a list"),
        ("m.yaml", "a: 1\n---\na: 2", "cannot read the manifest .*m.yaml"),
        ("m.yaml", "languages:\n\tphp: 1", "cannot read the manifest .*m.yaml"),
        (
            "m.json",
            '{"languages": {"php": {"sources": ["a"], "max_megabytes": NaN}}}',
            "NaN is not a number in JSON",
        ),
        ("m.json", '{"languages": {"php": {"sources": ["a"]}}, "max_length": ' + "9" * 5000 + "}", "m.json"),
        ("m.py", "def get_config(): return None", "m.py must be a table of vocab_size"),
        ("m.py", "def get_config(): 1 / 0", r"ZeroDivisionError: division by zero \(line 1\)"),
        ("m.py", "raise SystemExit", "the manifest .*m.py cannot be run: SystemExit"),
        ("m.toml", "", "m.toml is not a manifest; a manifest is"),
        ("m.py", "x = 1", "m.py has no get_config"),
        (
            "m.py",
            "from ml_collections import ConfigDict as get_config",
            "returns a ConfigDict, which sorts the languages",
        ),
    ],
)
def test_files_that_are_not_manifests(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=message) as caught:
        manifest.load(tmp_path / name)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="there is no manifest .*missing.yaml"):
        manifest.load(tmp_path / "missing.yaml")


@pytest.mark.parametrize("name", ["m.yaml", "m.json", "m.py"])
def test_a_file_that_would_never_end_is_not_a_manifest(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="it is not a plain file"):
        manifest.load(tmp_path / name)
