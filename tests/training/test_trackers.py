import hashlib
import struct
import sys
import types

import pytest
from helpers import make_run, small_material, train

from babel_jax.common.errors import UserError
from babel_jax.training import config as run_config
from babel_jax.training.trackers import EVENTS_NAME, scalars, tensorboard_events, wandb_log

RECORDS = [
    {"step": 16, "loss": 2.5, "grad_norm": 1e-3, "bad": False, "seconds": 1.5, "note": "no scalar", "nothing": None},
    {"step": 300, "loss": -0.125, "mfu": 0.5},
]


def crc32c(data: bytes) -> int:
    """Bit by bit, for comparison."""
    crc = 0xFFFFFFFF
    for bit in (byte >> i & 1 for byte in data for i in range(8)):
        crc = crc >> 1 ^ (0x82F63B78 if (crc ^ bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


def unmask(masked: int) -> int:
    rotated = (masked - 0xA282EAD8) % 2**32
    return (rotated << 15 | rotated >> 17) % 2**32


def messages(file: bytes):
    while file:
        (length,) = struct.unpack("<Q", file[:8])
        header, data, footer = file[8:12], file[12 : 12 + length], file[12 + length : 16 + length]
        assert unmask(*struct.unpack("<I", header)) == crc32c(file[:8])
        assert unmask(*struct.unpack("<I", footer)) == crc32c(data)
        yield fields(data)
        file = file[16 + length :]


def fields(message: bytes) -> list:
    """[(number, value)] of a protocol-buffer message."""
    found, at = [], 0

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at, number, shift = at + 1, number | (byte & 127) << shift, shift + 7
            if byte < 128:
                return number

    while at < len(message):
        key = varint()
        if key % 8 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}[key % 8] if key % 8 != 2 else varint()
            value, at = message[at : at + size], at + size
            value = struct.unpack("<d" if size == 8 else "<f", value)[0] if key % 8 != 2 else value
        found.append((key // 8, value))
    return found


def test_the_checksum_is_the_one_of_rfc_3720():
    assert crc32c(b"123456789") == 0xE3069283


def test_an_event_file_holds_the_scalars():
    first, *events = messages(tensorboard_events(RECORDS, started=1.7e9))
    assert first == [(1, 1.7e9), (3, b"brain.Event:2")]
    found = []
    for (_, wall), (_, step), (_, summary) in events:
        for number, value in fields(summary):
            (_, tag), (_, scalar) = fields(value)
            assert number == 1
            found.append((wall, step, tag, scalar))
    assert found == [
        (1.7e9 + 1.5, 16, b"loss", 2.5),
        (1.7e9 + 1.5, 16, b"grad_norm", pytest.approx(1e-3)),
        (1.7e9 + 1.5, 16, b"bad", 0.0),
        (1.7e9, 300, b"loss", -0.125),
        (1.7e9, 300, b"mfu", 0.5),
    ]
    assert "tfevents" in EVENTS_NAME


def test_the_event_file_is_the_one_that_tensorboard_read():
    """TensorBoard 2.21's EventAccumulator gave these records back from these bytes. When the hash changes: check again."""
    digest = hashlib.sha256(tensorboard_events(RECORDS, started=1.7e9)).hexdigest()
    assert digest == "c8e31191a689c0958efca445cf9d5ebca22d7c2225bd4b9d87a4fb83abbc276f"


def test_weights_and_biases_gets_what_it_lacks(monkeypatch):
    logged, asked = [], {}
    run = types.SimpleNamespace(
        step=17, log=lambda values, step: logged.append((step, values)), finish=lambda: logged.append("finished")
    )
    fake = types.SimpleNamespace(init=lambda **settings: asked.update(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    wandb_log("project", "seed-3", RECORDS)
    assert logged == [(300, {"loss": -0.125, "mfu": 0.5}), "finished"]
    assert asked["project"] == "project" and asked["id"] == "seed-3" and asked["resume"] == "allow"
    assert scalars(RECORDS[0]) == {"loss": 2.5, "grad_norm": 1e-3, "bad": 0.0}


def test_a_missing_wandb_is_an_error_at_the_start():
    config = run_config.override(run_config.default(), {"wandb_project": "mine"})
    run_config.validate(run_config.default())
    with pytest.raises(UserError, match="wandb_project is 'mine' but the package wandb is not installed"):
        run_config.validate(config)


def test_weights_and_biases_out_of_reach_costs_no_checkpoint(tmp_path, monkeypatch, caplog):
    class Unreachable:
        def init(**settings):
            raise ConnectionError("no route")

    monkeypatch.setattr(run_config, "check_wandb", lambda project: None)
    monkeypatch.setitem(sys.modules, "wandb", Unreachable)
    train(make_run(steps=17, wandb_project="mine"), small_material(), tmp_path)
    assert (tmp_path / "DONE").exists() and "cannot reach Weights & Biases (no route)" in caplog.text
