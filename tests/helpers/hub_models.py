"""Tiny models on the hub of hub_server.py, and its fixture."""

import pytest

from babel_jax.model import model_folders
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.tokenizer_files import TokenizerFiles
from helpers import hub_server, loud


def files_of(
    folder, config: DecoderConfig, seed: int, tokenizer: TokenizerFiles | None = None, **how
) -> dict[str, bytes]:
    """A model's files, as transformers writes them."""
    model_folders.write_model(folder, config, loud(config, seed), tokenizer, **how)
    return {place.name: place.read_bytes() for place in folder.iterdir()}


@pytest.fixture
def hub_here(tmp_path, monkeypatch):
    """A hub that this process asks, with an empty cache."""
    server = hub_server.Server()
    hub_server.used(monkeypatch, server, tmp_path / "cache")
    yield server
    server.shutdown()
    server.server_close()
