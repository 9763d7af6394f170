"""A run's metrics for those who watch runs elsewhere: a TensorBoard event file without TensorFlow, and Weights & Biases.

The event file is written whole from the run's own records, so it can be lost and made again, and a resumed run has the
curve of one that never stopped.
"""

import importlib.util
import struct

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from babel_jax.common.errors import UserError

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
    events = [Event(wall_time=started, file_version="brain.Event:2")]
    for record in records:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(record).items()]
        at = started + record.get("seconds", 0.0)
        events.append(Event(wall_time=at, step=record["step"], summary=Summary(value=values)))
    return b"".join(map(_framed, events))


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


def _framed(event: Event) -> bytes:
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))
