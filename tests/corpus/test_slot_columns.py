"""A space before an identifier, and its names in three or more languages, as columns of slots."""

import numpy as np
import pytest
from helpers import loose_files

from babel_jax.corpus import loose_texts, slot_columns, tokenizer
from babel_jax.corpus.loose_texts import Amounts
from babel_jax.languages.language import identifier

PAIRS = {
    "php": (
        (identifier("function len"), identifier("function strlen")),
        (identifier("word None"), identifier("word null")),
    ),
    "go": (
        (identifier("word None"), identifier("word nil")),
        (identifier("word None"), identifier("word Nothing")),
        (identifier("method len"), identifier("function size")),  # another use: no name of the function
    ),
}


@pytest.fixture(scope="module")
def model():
    return tokenizer.HuggingFace(loose_files.vocabulary().to_str().encode())


def first(model, text):
    return int(model.encode(text)[0])


def test_columns(model):
    slots = {
        "pair": np.array([0, 1]),
        "primary_id": np.array([first(model, "len"), first(model, " None")]),
        "new_id": np.array([first(model, "strlen"), first(model, " null")]),
    }
    slots |= slot_columns.spaced(slots, True, model)
    assert slots["spaced"].tolist() == [0, 1]
    found = slot_columns.names(slots, "python", "php", PAIRS, model)
    assert found["ids.python"].tolist() == [[slots["primary_id"][0]], [slots["primary_id"][1]]]
    assert found["ids.php"].tolist() == [[slots["new_id"][0]], [slots["new_id"][1]]]
    go = {token for token in (first(model, " nil"), first(model, " Nothing")) if model.decode([token]).strip()}
    assert found["ids.go"][0].tolist() == [-1] * found["ids.go"].shape[1]
    assert set(found["ids.go"][1].tolist()) - {-1} == go != set()
    assert slot_columns.names(slots, "python", "php", {"php": PAIRS["php"]}, model) == {}


def test_texts_of_three_languages_know_the_names_in_all(tmp_path, model):
    folders = loose_files.write(tmp_path)
    (tmp_path / "go").mkdir()
    for number in range(12):
        body = f"size_{number} := strings.TrimLeft(name, nil)\nfmt.Print(other, {number})\n"
        (tmp_path / "go" / f"{number}.go").write_text(loose_files.BODY + body)
    amounts = Amounts(rows=6, row_tokens=24, prompt_tokens=20, per_pair=4)
    texts = folders | {"go": tmp_path / "go"}
    material = loose_texts.material(texts, model, vocab_size=512, longest=64, amounts=amounts)
    for name, here in material.slots.items():
        assert {"spaced", "ids.python", "ids.php", "ids.go"} <= set(here), name
    own = {"python": "primary_id", "php": "new_id"}
    for name, column in own.items():
        here = material.slots[name]
        np.testing.assert_array_equal(here[f"ids.{name}"][:, 0], here[column])
