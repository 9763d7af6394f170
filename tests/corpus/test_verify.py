"""Corpora that were changed since they were built."""

import hashlib
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.corpora import damaged

from babel_jax.corpus import token_rows, verify


def test_verify_finds_nothing_in_what_was_built(built):
    assert verify.faults(built.directory) == []


def test_verify_finds_a_changed_byte_and_a_lost_file(built, tmp_path):
    def change(there, copy):
        shard = next(copy.glob("rows/**/*validation.array_record*"))
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
        (copy / "call_sites" / "python-php.npz").unlink()

    faults = verify.faults(damaged(built, tmp_path, change))
    assert faults[0] == "call_sites/python-php.npz is missing."
    assert "validation.array_record" in faults[1] and "is not the file that was built" in faults[1]
    assert len(faults) == 2


def change_stats(copy, built):
    place = copy / "stats.json"
    stats = json.loads(place.read_text())
    stats["languages"]["php"]["train"]["rows"] += 1
    place.write_text(json.dumps(stats))
    return place


def change_rows(copy, built):
    place = next(copy.glob("rows/**/php/**/*validation.array_record*"))
    source, ids = built.validation["php"], copy / "ids"
    source.rows(range(len(source)))[::-1].astype(np.uint16).tofile(ids)
    token_rows.write_shard(place, [(ids, 33 * len(source))], np.dtype(np.uint16), 0, len(source), 33)
    return place


def change_heldout(copy, built):
    place = copy / "heldout" / "php.parquet"
    table = pq.read_table(place).to_pylist()
    table[1]["content"] += "\n"
    pq.write_table(pa.Table.from_pylist(table), place)
    return place


def change_projects(copy, built):
    place = copy / "documents" / "php.parquet"
    table = pq.read_table(place).to_pylist()
    held_out, train = (next(row for row in table if row["split"] == split) for split in ("validation", "train"))
    train["project"] = held_out["project"]
    pq.write_table(pa.Table.from_pylist(table), place)
    return place


@pytest.mark.parametrize(
    "change, expected",
    [
        (change_heldout, "php: validation rows do not decode to the held-out document"),
        (change_rows, "php: validation rows do not decode to the held-out document"),
        (change_projects, "php: the project .* stands in both splits"),
        (change_stats, "php: train has .* rows, and stats.json says"),
    ],
)
def test_verify_reads_the_content(built, tmp_path, change, expected):
    """Files that fit their digests and not each other."""

    def with_its_digest(there, copy):
        place = change(copy, built)
        there["files"][place.relative_to(copy).as_posix()] = hashlib.sha256(place.read_bytes()).hexdigest()

    (problem,) = verify.faults(damaged(built, tmp_path, with_its_digest))
    assert re.search(expected, problem)
