"""A corpus as the material of a study."""

import shutil

import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.corpus import corpus_files
from babel_jax.corpus.corpus_material import material, several


def test_prompts_keep_their_last_tokens_and_rows_their_targets(built, monkeypatch):
    monkeypatch.setattr(corpus_files, "FEWEST_PAIRS", 1)
    opened = material(built.directory, "python", "php", heldout_rows=2, prompt_tokens=20)
    whole = built.slots("python", "php")["php"]
    short = opened.slots["php"]
    assert short["tokens"].shape == (len(whole["tokens"]), 20)
    for i, last in enumerate(short["position"]):
        end = whole["position"][i] + 1
        np.testing.assert_array_equal(short["tokens"][i, : last + 1], whole["tokens"][i, :end][-20:])
    heldout = opened.heldout["python"]
    np.testing.assert_array_equal(heldout["tokens"], built.validation["python"].rows([0, 1]))
    assert heldout["loss"].shape == heldout["bytes"].shape == (2, opened.max_length)
    assert (heldout["knowledge"] <= heldout["loss"]).all()


def test_a_corpus_without_both_languages_is_refused(built):
    with pytest.raises(UserError, match="has no go, only python, php; build it with both"):
        material(built.directory, "python", "go", 2, 8)
    with pytest.raises(UserError, match="this study needs a corpus"):
        material("", "python", "php", 2, 8)
    with pytest.raises(UserError, match="is a bucket's"):
        material("gs://bucket/corpus", "python", "php", 2, 8)


def test_a_copy_without_its_text_has_rows_and_says_which_tasks_it_lacks(built, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_files, "FEWEST_PAIRS", 1)
    place = shutil.copytree(built.directory, tmp_path / "copy")
    shutil.rmtree(place / "heldout")
    opened = several(place, ("python", "php"), heldout_rows=2, prompt_tokens=20)
    assert opened.tasks_in == {} and len(opened.heldout["python"]["tokens"]) == 2
    said = "\n".join(opened.about["messages"])
    assert "Choosing the comment of a function is not asked in PHP: there are 0 questions" in said
