"""A run's metrics for those who watch runs elsewhere: a TensorBoard event file without TensorFlow, and Weights & Biases.

The event file is written whole from the run's own records, so it can be lost and made again, and a resumed run has the
curve of one that never stopped.
"""

import importlib.util
import struct

from babel_jax.errors import UserError

EVENTS_NAME = "events.out.tfevents.babel_jax"  # TensorBoard reads files with "tfevents" in their name


def scalars(record: dict) -> dict[str, float]:
    """What can be drawn of a record: its numbers (true is 1) by name, without those that say when it was."""
    return {
        name: float(value)
        for name, value in record.items()
        if name not in ("step", "seconds") and isinstance(value, bool | int | float)
    }


def tensorboard_events(records: list[dict], started: float) -> bytes:
    """A whole event file: every record's numbers as scalars at its `step`.

    Args:
      records: {"step": int, name: number, …}; "seconds", where there, is the time since `started`.
      started: Unix time of the run's first step; the file is a function of these two alone.

    Format: TensorFlow's record file (tensorflow/core/lib/io/record_writer.h) of `Event` messages
    (tensorflow/core/util/event.proto), the first of which says the version.
    """
    events = [_field(1, started) + _field(3, b"brain.Event:2")]
    for record in records:
        values = b"".join(
            _field(1, _field(1, name.encode()) + _field(2, struct.pack("<f", value), wire=5))
            for name, value in scalars(record).items()
        )
        events.append(_field(1, started + record.get("seconds", 0.0)) + _field(2, record["step"]) + _field(5, values))
    return b"".join(_framed(event) for event in events)


def check_wandb(project: str) -> None:
    """Raises a `UserError` when a project is named and the package that talks to it is not installed."""
    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"wandb_project is '{project}' but the package wandb is not installed: run `pip install wandb`, or leave "
            "wandb_project empty (metrics.jsonl and the TensorBoard file hold the same numbers)."
        )


def wandb_log(project: str, run_name: str, records: list[dict]) -> None:
    """Sends the records that Weights & Biases does not have yet to the run `run_name` of `project`."""
    import wandb  # optional: `check_wandb` has seen that it is there

    run = wandb.init(project=project, name=run_name, id=run_name, resume="allow")
    first = run.step  # the next free one: the service takes steps in rising order only
    for record in records:
        if record["step"] >= first:
            run.log(scalars(record), step=record["step"])
    run.finish()


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _field(number: int, value, wire: int | None = None) -> bytes:
    """One protocol-buffer field: a float as double, an int as varint, bytes with their length, or raw with `wire`."""
    if wire is not None:
        return _varint(number << 3 | wire) + value
    if isinstance(value, float):
        return _varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _framed(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked_crc(length)) + data + struct.pack("<I", _masked_crc(data))


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # Castagnoli's polynomial, reflected (RFC 3720)
        table.append(byte)
    return table


_CRC_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    """CRC-32C, turned and shifted as record files want it, so that a checksum of checksums stays a good one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
