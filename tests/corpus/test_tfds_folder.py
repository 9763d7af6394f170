"""TFDS directories."""

import numpy as np
import pytest
from helpers.source_files import PHP_ROWS, PYTHON_ROWS, ROWS, read, table

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources
from babel_jax.corpus.readers import reader


@pytest.fixture(scope="module")
def tfds_directory(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    rows = [row | {"spdx": row["spdx"] or [], "repo": row["repo"] or "", "text": row["text"] or ""} for row in ROWS[:3]]

    class Rows(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path, code_path = tmp_path_factory.mktemp("package"), None

        def _info(self):
            texts = {name: tfds.features.Text() for name in ("text", "name", "repo", "lang")}
            features = texts | {
                "spdx": tfds.features.Sequence(tfds.features.Text()),
                "stars": tfds.features.Scalar(np.int32),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for i, row in enumerate(rows):
                yield i, row | {"stars": 1}

    builder = Rows(data_dir=tmp_path_factory.mktemp("data"), file_format="array_record")
    builder.download_and_prepare()
    return builder.data_dir


def test_tfds_directories(tfds_directory, monkeypatch):
    def sorted_documents(made):
        return sorted(read(made))

    assert sorted_documents(table(tfds_directory)) == PYTHON_ROWS[:2]
    assert sorted_documents(table(tfds_directory, "php")) == PHP_ROWS
    plain = {"content": "text"}
    before = read(table(tfds_directory, columns=plain))
    monkeypatch.setattr(reader, "PIECE_BYTES", 1)
    assert read(table(tfds_directory, columns=plain)) == before
    assert len(sources.pieces(table(tfds_directory, columns=plain), "python")) == 3
    with pytest.raises(UserError, match="unknown column 'txt'; did you mean 'text'"):
        read(table(tfds_directory, columns={"content": "txt"}))
    with pytest.raises(UserError, match="the column 'stars' of .* holds int, not text"):
        read(table(tfds_directory, columns={"content": "stars"}))
