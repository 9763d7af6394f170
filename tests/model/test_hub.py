"""Models of the hub: fetched once, resumed, taken from the cache; every refusal is one line."""

import collections
import dataclasses
import shutil

import numpy as np
import pytest
from helpers import SMALL, by_path, hub_server, loud, same
from helpers.hub_models import files_of, hub_here  # noqa: F401

from babel_jax.common.errors import UserError
from babel_jax.model import hub, model_folders
from babel_jax.model.tokenizer_files import TokenizerFiles

CONFIG = dataclasses.replace(SMALL, vocab_size=300)
TOKENIZER = TokenizerFiles({"tokenizer_config.json": b"{}"}, {"eos_token_id": 0})
NAME = "org/tiny"
FULL = collections.namedtuple("Usage", "total used free")(10, 7, 3)  # bytes of a disk


@pytest.fixture
def server(hub_here, tmp_path):  # noqa: F811
    revisions = {f"step{step}": files_of(tmp_path / str(step), CONFIG, step, TOKENIZER) for step in (0, 1000)}
    hub_here.repositories[NAME] = hub_server.Repository(revisions | {"main": {"README.md": b"models are in branches"}})
    return hub_here


def params_of(folder):
    return by_path(model_folders.read_model(folder)[1])


def test_a_place_is_a_folder_or_a_name_of_the_hub(tmp_path, monkeypatch):
    assert hub.parsed("org/tiny") == hub.Name("org/tiny", "main")
    assert str(hub.parsed("org/tiny-1.5B@refs/pr/1")) == "org/tiny-1.5B@refs/pr/1"
    for place in ("tiny", "gs://bucket/tiny", "/a/b", "../b", "./b", "a/b/c"):
        assert hub.parsed(place) is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "tiny").mkdir(parents=True)
    assert hub.parsed("org/tiny") is None and hub.folder("org/tiny").samefile(tmp_path / "org" / "tiny")


def test_a_model_is_fetched_once_with_its_tokenizer(server, monkeypatch):
    folder = hub.folder(f"{NAME}@step1000")
    assert same(params_of(folder), by_path(loud(CONFIG, 1000)))
    assert {place.name for place in folder.iterdir()} >= {"config.json", "model.safetensors", "tokenizer_config.json"}
    assert collections.Counter(request.file for request in server.asked("file")).most_common(1)[0][1] == 1
    server.requests.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: FULL)
    assert hub.folder(f"{NAME}@step1000") == folder and not server.asked("file")


def test_offline_the_cache_is_read_and_nothing_is_asked(server, monkeypatch):
    folder = hub.folder(f"{NAME}@step1000")
    server.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert hub.folder(f"{NAME}@step1000") == folder and list(hub.revisions(NAME)) == ["step1000"]
    with pytest.raises(UserError, match="org/tiny@step0 is not in the cache .*, and HF_HUB_OFFLINE says") as error:
        hub.folder(f"{NAME}@step0")
    assert "\n" not in str(error.value) and not server.requests


def test_a_connection_that_breaks_goes_on_where_it_broke(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", hub_server.PIECE)
    server.breaks["model.safetensors"] = hub_server.PIECE
    folder = hub.folder(f"{NAME}@step0")
    assert same(params_of(folder), by_path(loud(CONFIG, 0)))
    starts = [request.start for request in server.asked("file") if request.file == "model.safetensors"]
    assert starts == [0, hub_server.PIECE]


def test_weights_in_parts_and_renamed_repositories_are_found(server, tmp_path):
    parts = files_of(tmp_path / "parts", CONFIG, 7, shard_bytes=4096)
    parts["consolidated.safetensors"] = b"another copy"
    server.repositories["org/parts"] = hub_server.Repository({"main": parts})
    server.moved["old/parts"] = "org/parts"
    folder = hub.folder("old/parts")
    assert same(params_of(folder), by_path(loud(CONFIG, 7))) and not (folder / "consolidated.safetensors").exists()
    sizes = hub.revision(hub.Name("org/parts")).model
    assert sum(sizes.values()) == sum(len(parts[name]) for name in sizes) and len(sizes) > 3


def test_a_gated_model_is_read_with_a_token(server, monkeypatch):
    files = server.repositories[NAME].revisions["step0"]
    server.repositories["org/gated"] = hub_server.Repository({"main": files}, token="hf_good", gated=True)
    with pytest.raises(
        UserError, match=f"org/gated is gated: accept its terms at {server.url}/org/gated, then give a token"
    ):
        hub.folder("org/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    assert same(params_of(hub.folder("org/gated")), by_path(loud(CONFIG, 0)))


def test_what_fails_by_the_network_is_tried_again(server, monkeypatch):
    waits = []

    def wait(seconds):
        waits.append(seconds)
        server.fails = 429 if len(waits) == 1 else None

    server.fails = 503
    monkeypatch.setattr(hub.time, "sleep", wait)
    assert "step0" in hub.revisions(NAME) and waits == list(hub.WAITS)


def test_every_refusal_is_one_line(server, monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "WAITS", ())
    server.repositories["org/private"] = hub_server.Repository({"main": {}}, token="hf_good")

    def full(place):
        monkeypatch.setattr(shutil, "disk_usage", lambda place: FULL)
        return hub.folder(place)

    def written(place):
        monkeypatch.undo()
        hub_server.used(monkeypatch, server, tmp_path / "full")
        monkeypatch.setattr("huggingface_hub.file_download.http_get", no_room)
        return hub.folder(place)

    def no_room(*_, **__):
        raise OSError(28, "No space left on device")

    def answers(place):
        server.fails = 503
        return hub.folder(place)

    def gone(place):
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        return hub.folder(place)

    for place, ask, message in (
        (f"{NAME}@step100", hub.folder, "org/tiny: unknown revision 'step100'; did you mean 'step1000'"),
        (NAME, hub.folder, "org/tiny@main has no model.safetensors and no pytorch_model.bin, .*there are README.md"),
        ("org/none", hub.folder, "there is no folder org/none, and http://.* has no model of that name"),
        ("org/private", hub.folder, "has no model of that name, or it is private; check the name, or give a token"),
        ("org/a--b", hub.folder, "org/a--b is not the name of a model"),
        (f"{NAME}@step0", full, "org/tiny@step0 takes .* and .* has 3 bytes free; free space"),
        (f"{NAME}@step0", written, "there is no room left in .*full for org/tiny@step0; free space"),
        (f"{NAME}@step0", answers, "answered 503 for org/tiny@step0; check the token"),
        (f"{NAME}@step0", gone, "the connection to http://127.0.0.1:9 for org/tiny@step0 broke"),
    ):
        with pytest.raises(UserError, match=message) as error:
            ask(place)
        assert str(error.value).isprintable() and len(str(error.value)) < 600


@pytest.mark.parametrize("count, text", [(12, "12 bytes"), (3_400, "3.4 kB"), (2.5e9, "2.5 GB"), (7e12, "7.0 TB")])
def test_bytes_are_written_as_one_reads_them(count, text):
    assert hub.amount(count) == text
    assert np.isfinite(count)
