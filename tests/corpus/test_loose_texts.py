"""Texts without a corpus as the material that a model is probed on."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import loose_files
from helpers.loose_files import BODY, php, python

from babel_jax.common.errors import UserError
from babel_jax.corpus import loose_texts, sources, tokenizer
from babel_jax.corpus.loose_texts import Amounts

SMALL = Amounts(rows=30, row_tokens=24, prompt_tokens=20, per_pair=8)


@pytest.fixture(scope="module")
def model():
    return tokenizer.HuggingFace(loose_files.vocabulary().to_str().encode())


@pytest.fixture
def folders(tmp_path):
    return loose_files.write(tmp_path)


def read(texts, model, amounts=SMALL, **shape):
    return loose_texts.material(texts, model, amounts=amounts, **{"vocab_size": 512, "longest": 64} | shape)


def test_rows_and_prompts_of_folders(folders, model):
    material = read(folders, model)
    assert (material.primary, material.new, material.vocab_size, material.max_length) == ("python", "php", 512, 24)
    for language, text in (("python", python), ("php", php)):
        rows, slots = material.heldout[language], material.slots[language]
        assert rows["tokens"].shape == (30, 25) and slots["tokens"].shape[1] == 20
        whole = [text(number) for number in range(20)]
        pieces = "".join(model.decode(row) + "\0" for row in rows["tokens"])
        given = {number for number in range(20) if f"start_{number} = " in pieces}
        for prompt, last in zip(slots["tokens"], slots["position"], strict=True):
            assert any(model.decode(prompt[: last + 1]) in one for one in whole)
        assert given and len(slots["tokens"]) >= 8
        # Each target's bytes: what is counted, put end to end, is the text.
        end = rows["tokens"][:, 1:] == model.document_end
        assert (rows["bytes"][end] == 0).all() and (rows["bytes"][~end] > 0).all()
        assert not rows["loss"][rows["tokens"][:, :-1] == model.document_end].any()
        assert (rows["knowledge"] <= rows["loss"]).all() and rows["knowledge"].any()
    assert material.about["languages"]["python"]["rows"] == 30
    assert material.about["pairs"]["python-php"]["names"][0] == "len/strlen"
    assert sum(material.about["pairs"]["python-php"]["prompts"]["php"]) == len(material.slots["php"]["pair"])


def test_no_file_gives_rows_and_prompts(folders, model, monkeypatch):
    rows, mined = [], []
    add, mine = loose_texts._Rows.add, loose_texts.call_sites.Miner.add
    monkeypatch.setattr(loose_texts._Rows, "add", lambda self, text: (rows.append(text), add(self, text)))
    monkeypatch.setattr(
        loose_texts.call_sites.Miner, "add", lambda self, document: (mined.append(document.text), mine(self, document))
    )
    read(folders, model)
    assert rows and mined and not set(rows) & set(mined)
    assert len(rows + mined) == len(set(rows + mined))


def test_the_same_files_give_the_same_material_wherever_they_lie(folders, model, tmp_path):
    here = read(folders, model)
    (tmp_path / "elsewhere").mkdir()
    moved = {name: folder.rename(tmp_path / "elsewhere" / folder.name) for name, folder in folders.items()}
    assert read(moved, model).fingerprint == here.fingerprint
    (moved["php"] / "0.php").write_text(php(777))
    assert read(moved, model).fingerprint != here.fingerprint


def test_jsonl_and_parquet_columns(folders, model, tmp_path):
    lines = [{"code": python(number), "name": f"{number}.py"} for number in range(20)]
    (tmp_path / "python.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = {"text": [php(number) for number in range(20)], "lang": ["PHP"] * 20}
    pq.write_table(pa.table(table), tmp_path / "php.parquet", row_group_size=5)
    texts = {
        "python": {"path": tmp_path / "python.jsonl", "columns": {"content": "code", "path": "name"}},
        "php": {"path": str(tmp_path / "php.parquet"), "columns": {"content": "text", "language": "lang"}},
    }
    texts["python"]["path"] = str(texts["python"]["path"])
    material = read(texts, model)
    assert set(material.slots) == {"python", "php"} and len(material.heldout["php"]["tokens"]) == 30
    texts["php"]["columns"] = {"content": "body"}
    with pytest.raises(UserError, match=r"php.parquet: unknown column 'body'"):
        read(texts, model)


def test_what_names_texts(folders, tmp_path):
    py, other = folders["python"], folders["php"]
    given = loose_texts.parsed(f"python={py}/sub,{py},php={other}")
    assert [source.path for source in given.languages["python"].sources] == [f"{py}/sub", str(py)]
    assert list(given.languages) == ["python", "php"]
    (tmp_path / "texts.json").write_text(json.dumps({"languages": {"php": {"sources": [str(other)]}}}))
    assert list(loose_texts.parsed(str(tmp_path / "texts.json")).languages) == ["php"]
    with pytest.raises(UserError, match="write NAME=FOLDER,NAME=FOLDER"):
        loose_texts.parsed("runs/texts")


def empty(folder):
    for path in folder.rglob("*.p*"):
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda texts: texts.pop("php"), "the texts are of python alone; probes compare languages"),
        (lambda texts: empty(texts["php"]), r"no PHP file \(.php\) in .*/php; name a folder"),
        (lambda texts: texts.update(php=texts["php"] / "nothing"), "there is no file or folder"),
        (lambda texts: texts.update(php=f"{texts['php']}/*.phtml"), "nothing to read matches"),
        (lambda texts: texts.update(ruby=texts.pop("php")), "unknown language 'ruby'"),
        (lambda texts: [p.write_bytes(b"\xff" * 99) for p in texts["php"].rglob("*.php")], "20 not utf8"),
        (
            lambda texts: [empty(texts["php"]), (texts["php"] / "a.php").write_text("<?php\n" + "$a = 1;\n" * 9)],
            "too short: .* make . rows of 64",
        ),
    ],
)
def test_texts_that_cannot_be_read_are_one_line(folders, model, change, message):
    change(folders)
    with pytest.raises(UserError, match=message) as caught:
        read(folders, model, Amounts(rows=6, row_tokens=500, prompt_tokens=20, per_pair=8))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said_and_the_rest_is_read(folders, model):
    for number in range(4):
        (folders["php"] / f"{number}.php").write_bytes(b"<?php // \xff\xfe" + b"x" * 99)
    (folders["php"] / "copy.php").write_text(php(10))
    go = folders["php"].parent / "go"
    go.mkdir()
    for number in range(5):
        (go / f"{number}.go").write_text(BODY + f"a{number} = 1\n" * 20)
    material = read(folders | {"go": go}, model, Amounts(rows=60, row_tokens=24, prompt_tokens=20, per_pair=8))
    assert set(material.heldout) == {"python", "php", "go"} and set(material.slots) == {"python", "php"}
    said = "\n".join(material.about["messages"])
    assert "PHP: 5 files left out (4 not utf8, 1 duplicate)" in said
    assert "no prompts in Go: 0 of 22 pairs have some" in said
    assert "Go has " in said and "rows of the 60 that are asked for" in said
    summary = list(loose_texts.summary(material.about))
    assert any("python-php" in line and "prompts in PHP, of 3 of 21 pairs" in line for line in summary)


def test_languages_without_pairs_are_read_without_prompts(folders, model):
    texts = {"go": folders["php"].parent / "go", "php": folders["php"]}
    texts["go"].mkdir()
    for number in range(20):
        (texts["go"] / f"{number}.go").write_text(BODY + f"a{number} = 1\n" * 20)
    material = read(texts, model)
    assert material.slots == {} and not material.heldout["go"]["knowledge"].any()
    said = "\n".join(material.about["messages"])
    assert "no prompts in PHP: no built-ins of Go and PHP are known to mean the same" in said


def test_a_tokenizer_of_another_model_is_refused(folders, model):
    with pytest.raises(UserError, match="has 500 tokens and the model 499; take the model's own"):
        read(folders, model, vocab_size=499)


def test_a_long_file_gives_its_part_and_an_end_that_is_none_is_not_counted(folders, model):
    (folders["python"] / "0.py").write_text(python(0) * 400)
    rows = read(folders, model, Amounts(rows=32, row_tokens=24, prompt_tokens=20, per_pair=0)).heldout["python"]
    cut_off = (rows["tokens"][:, 1:] == model.document_end) & ~rows["loss"]
    assert cut_off.sum() >= 1
    shown = "".join(model.decode(row) for row in rows["tokens"])
    assert shown.count("start_0 =") < 3


def test_rows_begin_with_the_mark_that_the_model_expects(folders, model):
    settings = json.loads(model.content)
    bos = {"id": 500, "content": "<s>", "special": True, "single_word": False, "lstrip": False, "rstrip": False}
    settings["added_tokens"].append(bos | {"normalized": False})
    mark = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    settings["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [mark, text],
        "pair": [mark, text],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [500], "tokens": ["<s>"]}},
    }
    files = {"tokenizer.json": json.dumps(settings).encode()}
    marked = tokenizer.of_files(files)
    assert marked.begin == 500
    assert tokenizer.of_files(files | {"tokenizer_config.json": b'{"add_bos_token": false}'}).begin is None
    material = read(folders, marked)
    rows = material.heldout["php"]
    assert (rows["tokens"][:, 0] == 500).all() and (material.slots["php"]["tokens"][:, 0] == 500).all()
    plain = read(folders, tokenizer.of_files({"tokenizer.json": model.content}))
    assert plain.fingerprint != material.fingerprint
    first = rows["tokens"][:, :-1] == 500
    assert not rows["loss"][first].any()


@pytest.mark.parametrize("kind", ["byte-level", "byte fallback"])
def test_bytes_of_targets_are_those_of_the_text_whatever_a_token_is(model, kind):
    text = "größer, 漢字かな 🙂 e\u0301 x = 1\n\tend\n"
    if kind == "byte fallback":  # characters that were never seen are bytes there
        model = tokenizer.train([BODY * 20], 320)
    ids = model.encode(text)
    assert any(model.decode([token]) == "\ufffd" for token in ids)  # a token that is a part of a character
    rows = loose_texts._Rows(model, 1, len(ids))
    rows.add(text)
    found = rows.cut()
    assert found["tokens"].tolist() == [[*ids, model.document_end]]
    first = model.token_bytes_V[ids[0]]
    assert first + found["bytes"].sum() == len(text.encode()) and found["loss"].all()


def test_one_file_gives_rows_and_says_why_there_are_no_prompts(folders, model):
    texts = {name: next(iter(folder.glob("*.p*"))) for name, folder in folders.items()}
    for name, text in (("python", python), ("php", php)):
        texts[name].write_text(text(1) * 3)
    material = read(texts, model, Amounts(rows=4, row_tokens=24, prompt_tokens=20, per_pair=4))
    assert material.slots == {} and len(material.heldout["php"]["tokens"]) == 4
    said = "\n".join(material.about["messages"])
    assert "no prompts in PHP: 0 of 21 pairs have some and 2 are the least" in said


def test_reading_stops_when_enough_is_there(folders, model, monkeypatch):
    for number in range(20, 200):
        (folders["python"] / f"{number}.py").write_text(python(number))
    opened = []
    read_file = sources.plain_files._read
    reader = sources.OF_KIND["files"]._replace(
        read=lambda source, root, *names: (
            opened.extend(n for n in names if n.endswith(".py")),
            read_file(source, root, *names),
        )[1]
    )
    monkeypatch.setitem(sources.OF_KIND, "files", reader)
    read(folders, model, Amounts(rows=2, row_tokens=24, prompt_tokens=20, per_pair=2))
    # Two of the pairs are nowhere in them, so that all would be read.
    everything = len(opened)
    opened.clear()
    monkeypatch.setattr(loose_texts, "MOST_MINED", 3 * len(python(10)))
    read(folders, model, Amounts(rows=2, row_tokens=24, prompt_tokens=20, per_pair=2))
    assert len(opened) < 20 and everything == 200


def test_only_so_many_files_are_listed_at_once(folders, model, monkeypatch):
    monkeypatch.setattr(sources, "MOST_DRAWN", 8)
    names = [document.path for document in sources.drawn(loose_texts.of(folders), "python")]
    monkeypatch.setattr(sources, "MOST_DRAWN", 20)
    more = [document.path for document in sources.drawn(loose_texts.of(folders), "python")]
    assert len(names) == 8 and more[:8] == names and len(set(more)) == 20
    assert more != sorted(more)


def test_running_text_is_cleaned_by_the_paragraph(tmp_path, model):
    """What is in another language, too short or a copy gives no rows; a file of nothing else is left out."""
    english = "This is the text of page {0}, and it is for all of us to read: {1}."
    german = "Das ist der Text der Seite, und er ist für uns alle da, damit wir ihn lesen."
    words = [
        "house",
        "river",
        "mountain",
        "garden",
        "winter",
        "window",
        "letter",
        "market",
        "table",
        "bridge",
        "forest",
    ]
    for folder in ("en", "de"):
        (tmp_path / folder).mkdir()
    for number, word in enumerate(words):
        own = [english.format(word, " and ".join(words[number:] + words[:number])), english.format("one", "all")]
        (tmp_path / "en" / f"{number}.txt").write_text("\n\n".join([*own, "Too short.", german]))
        (tmp_path / "de" / f"{number}.txt").write_text(german.replace("Seite", f"Seite über {word} {word[::-1]}"))
    (tmp_path / "en" / "german.txt").write_text(f"{german}\n\n{german}")
    texts = {name: tmp_path / name for name in ("en", "de")}
    material = read(texts, model, Amounts(rows=200, row_tokens=24, per_pair=0), longest=64)
    decoded = "".join(model.decode(row) for row in material.heldout["en"]["tokens"])
    assert "Das ist" not in decoded and "Too short" not in decoded and decoded.count("page one") <= 1
    assert decoded.count("page garden") == 1
    assert material.about["languages"]["en"]["left_out"] == {"size": 1}
