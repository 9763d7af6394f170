import functools
import hashlib
import random
import re
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from babel_jax.corpus import duplicates
from babel_jax.corpus.duplicates import digests, exact, jaccard, near, near_datatrove, signatures
from babel_jax.languages.registry import language

PYTHON = language("python")
THRESHOLD = 0.7
WORDS = [f"word{number}" for number in range(3000)]


def made_up(seed, words=300):
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def edited(text, share, seed):
    """The text without a share of its words, in one place."""
    words = text.split(" ")
    length = round(share * len(words))
    begin = random.Random(seed).randint(0, len(words) - length)
    return " ".join(words[:begin] + words[begin + length :])


def near_of(texts, **options):
    return near(signatures(texts), lambda numbers: [texts[n] for n in numbers], THRESHOLD, **options)


@functools.cache
def runs(text):
    words = re.findall(r"[A-Za-z0-9_\u0080-\U0010ffff]+", text)
    return {tuple(words[begin : begin + 5]) for begin in range(len(words) - 4)}


def similarity(first, second):
    """By the definition: of sets of runs of five words."""
    shared = len(runs(first) & runs(second))
    return shared / max(1, len(runs(first)) + len(runs(second)) - shared)


def by_definition(texts):
    """The documents that are near to an earlier one that is kept."""
    kept, near = [], []
    for number, text in enumerate(texts):
        copies = any(similarity(text, texts[other]) >= THRESHOLD for other in kept)
        (near if copies else kept).append(number)
    return near


def digest_table(texts):
    return np.array([digests(text.encode(), text, PYTHON) for text in texts], "S16").reshape(-1, 2)


def test_copies_byte_for_byte_are_distinguished_from_those_without_comments():
    text = "def add(a, b):\n    # the sum\n    return a + b\n"
    comment = text.replace("sum", "difference").replace("    return", "\treturn")
    string = text + "c = '# no comment'\n"
    # The third copies the second, which was dropped; the fourth copies nothing.
    assert exact(digest_table([text, comment, comment, string, text, string.replace("'", '"')])).tolist() == [
        0,
        2,
        1,
        0,
        1,
        0,
    ]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2)), max_size=30))
def test_exact_by_its_definition(contents):
    """Of any documents; digests that end in zeros or differ in their last byte alone are no exception."""
    table = [(bytes(14) + bytes([bare, text]), b"\1" * 15 + bytes([bare])) for bare, text in contents]
    expected = [
        1
        if any(row[0] == other[0] for other in table[:place])
        else 2
        if any(row[1] == other[1] for other in table[:place])
        else 0
        for place, row in enumerate(table)
    ]
    digest_Dx2 = np.array(table, "S16").reshape(-1, 2)
    assert exact(digest_Dx2).tolist() == expected
    digest_Dx2x16 = np.array([[list(digest) for digest in row] for row in table], np.uint8).reshape(-1, 2, 16)
    assert exact(digest_Dx2x16).tolist() == expected


def test_signatures_do_not_depend_on_the_batch_and_stay_as_they_are():
    """A change of these hashes makes signatures of different builds incomparable; if it is meant, put the new value here."""
    texts = [made_up(seed, words=20 * seed) for seed in range(8)]
    signature_DxP = signatures(texts)
    assert signature_DxP.shape == (8, duplicates.PERMUTATIONS) and signature_DxP.dtype == np.uint32
    assert np.array_equal(signature_DxP, np.concatenate([signatures([text]) for text in texts]))
    assert signatures([]).shape == (0, duplicates.PERMUTATIONS)
    assert hashlib.sha256(signature_DxP.tobytes()).hexdigest()[:16] == "c8ad6fdfb279543e"


def test_words_are_what_separates_and_order_counts():
    texts = ["a b_1 c d e f", "a(b_1).c\n\td = e[f]", "f e d c b_1 a", "a b c d naïve", "a b c d na ve", "a.b.c.naïve"]
    plain, punctuated, turned, accented, cut, short = signatures(texts)
    assert np.array_equal(plain, punctuated)
    assert not (plain == turned).any()
    assert not np.array_equal(accented, cut)
    assert (short == duplicates.NO_WORDS).all()


def test_signatures_estimate_the_similarity():
    errors = []
    for seed in range(40):
        first = made_up(seed, words=100 + 20 * seed)
        second = edited(first, seed / 80, seed)
        both = signatures([first, second])
        errors.append((both[0] == both[1]).mean() - similarity(first, second))
    assert np.abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.05


def test_near_by_its_definition_at_any_share_of_edits():
    """Few are far from the threshold: a rule that trusts the signatures alone, or asks too few bands, fails."""
    originals = [made_up(seed) for seed in range(60)]
    copies = [
        edited(original, share / 100, share) for original in originals for share in (2, 15, 25, 28, 30, 32, 35, 50)
    ]
    texts = originals + copies
    random.Random(0).shuffle(texts)
    near_D = near_of(texts)
    assert near_D.dtype == np.int64
    assert np.flatnonzero(near_D >= 0).tolist() == by_definition(texts)
    for number in np.flatnonzero(near_D >= 0):
        other = near_D[number]
        assert other < number and near_D[other] < 0 and similarity(texts[number], texts[other]) >= THRESHOLD


def test_only_kept_documents_count():
    text = made_up(0)
    chain = [text, edited(text, 0.2, 1)]
    chain.append(edited(chain[1], 0.2, 2))
    assert similarity(chain[0], chain[2]) < THRESHOLD <= min(similarity(*chain[:2]), similarity(*chain[1:]))
    assert near_of(chain).tolist() == [-1, 0, -1]


def test_texts_are_read_in_order_in_batches_and_only_near_the_threshold(monkeypatch):
    originals = [made_up(seed) for seed in range(40)]
    sure = originals + [original + " and a little more" for original in originals]
    calls = []

    def texts(numbers):
        calls.append(numbers)
        return [documents[number] for number in numbers]

    documents = sure
    assert (near(signatures(documents), texts, THRESHOLD)[40:] == range(40)).all()
    assert calls == []
    documents = originals + [edited(original, 0.28, seed) for seed, original in enumerate(originals)]
    whole = near(signatures(documents), texts, THRESHOLD)
    assert len(calls) <= 2 and all(len(numbers) <= duplicates.TEXTS for numbers in calls)
    calls.clear()
    monkeypatch.setattr(duplicates, "BATCH", 8)
    assert np.array_equal(near(signatures(documents), texts, THRESHOLD), whole)
    assert 5 < len(calls) < 20
    assert all(numbers == sorted(set(numbers)) and len(numbers) <= 8 + duplicates.CHECKS for numbers in calls)
    monkeypatch.setattr(duplicates, "TEXTS", 3)
    calls.clear()
    assert np.array_equal(near(signatures(documents), texts, THRESHOLD), whole)
    assert max(map(len, calls)) == 3 and all(numbers == sorted(set(numbers)) for numbers in calls)


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_batch_does_not_change_what_is_near(batch, monkeypatch):
    families = [[edited(made_up(seed), share / 100, share) for share in range(0, 45, 3)] for seed in range(8)]
    texts = [text for family in families for text in family]
    random.Random(1).shuffle(texts)
    expected = near_of(texts)
    assert (expected >= 0).sum() > 40
    monkeypatch.setattr(duplicates, "BATCH", batch)
    assert np.array_equal(near_of(texts), expected)


def test_a_large_family_below_the_threshold_costs_a_bounded_number_of_comparisons(monkeypatch):
    shared = made_up(0)
    texts = [shared + " " + made_up(seed, words=70) for seed in range(1, 121)]
    compared = []
    monkeypatch.setattr(duplicates, "CHECKS", 4)
    monkeypatch.setattr(duplicates, "jaccard", lambda *sets: compared.append(jaccard(*sets)) or compared[-1])
    near_D = near_of(texts)
    assert (near_D == -1).all() and len(compared) > 120
    assert len(compared) <= 4 * len(texts)


def test_texts_of_few_words_and_no_documents_are_near_to_nothing():
    assert near_of(["a b c", "a b c", "", ""]).tolist() == [-1] * 4
    assert near_of([]).tolist() == []


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_other_thresholds(threshold):
    originals = [made_up(seed, words=1000) for seed in range(30)]
    step = 1 - threshold
    texts = originals + [edited(original, step * share, 0) for original in originals for share in (0.7, 1.3)]
    near_D = near(signatures(texts), lambda numbers: [texts[n] for n in numbers], threshold)
    assert near_D[30:].reshape(30, 2).tolist() == [[original, -1] for original in range(30)]


@pytest.fixture
def pieces(tmp_path):
    """Parquet files, the rows of each that count, and the texts in these rows: 30 originals, a copy of each, and others."""
    originals = [made_up(seed) for seed in range(30)]
    copies = [edited(original, 0.05, 0) for original in originals]
    texts = originals + copies + [edited(original, 0.65, 0) for original in originals] + ["short", ""]
    files, rows, skipped = [], [], [texts[0]] * 300  # rows that do not count
    for number, begin in enumerate(range(0, len(texts), 23)):
        part = texts[begin : begin + 23]
        files.append(tmp_path / f"piece{number}.parquet")
        parquet.write_table(pyarrow.table({"content": skipped + part}), files[-1], row_group_size=50)
        rows.append(np.arange(len(skipped), len(skipped) + len(part)))
    files.append(tmp_path / "dropped.parquet")
    parquet.write_table(pyarrow.table({"content": skipped}), files[-1])
    return files, [*rows, np.zeros(0, np.int64)], texts


@pytest.mark.processes
def test_datatrove_finds_the_same_clear_copies(pieces, tmp_path):
    files, rows, texts = pieces
    near_D = near_datatrove(files, rows, THRESHOLD, tmp_path / "stages")
    assert near_D.dtype == np.int64
    assert np.array_equal(near_D, near_of(texts))
    assert (near_D[30:60] == range(30)).all() and (near_D >= 0).sum() == 30
    for file in files:
        file.unlink()
    assert np.array_equal(near_datatrove(files, rows, THRESHOLD, tmp_path / "stages"), near_D)  # goes on: nothing to do


@pytest.mark.processes
def test_a_worker_imports_little():
    heavy = "{'jax', 'pandas', 'matplotlib', 'datatrove', 'tensorflow_datasets', 'pyarrow'}"
    code = f"import sys, babel_jax.corpus.duplicates; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
