"""Several processes as one run: who they are, who is the first, waiting for each other, agreeing on a number.

Each host runs the same command. `initialize` joins them, by flags or by the cluster's own variables; with one host it does
nothing and the other functions cost nothing. They talk through JAX's coordination service, not through the
devices: a question to the other hosts must not wait until the queued training steps have run.

When a process dies the others cannot go on: JAX ends them (SIGABRT), at once if it was process 0, else when its heartbeat
has been missing. The launch scripts then start all of them again.
"""

import contextlib
import itertools
import os
import re
import signal
import socket
import sys
import threading
import time

import jax
from jax._src import clusters
from jax._src.distributed import global_state

from babel_jax.common.errors import UserError

CONNECT_SECONDS = 600  # hosts of a pod start, and install, minutes apart
HEARTBEAT_SECONDS = 60  # a process that was not heard for so long is dead
LEAVE_SECONDS = 20  # a process that ends with an error waits so long for the others, then it ends them too
WAIT_SECONDS = 3600  # for processes that are alive but behind: one of them may be measuring, or writing much
FLAGS = "--coordinator=HOST:PORT --processes=N --process=I"

_questions = itertools.count()  # of `agree`, counted alike on all processes


def initialize(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins the processes of this run; call it before any device is used. One host and no flags: does nothing.

    Args:
      coordinator: "host:port" of process 0, and
      processes, process: how many there are and which this one is, from 0. All three; or none: then SLURM or the metadata
        of a TPU VM or of a GKE node say whether there are several.

    Raises:
      UserError: flags that are incomplete or contradict each other; process 0 cannot be reached.
    """
    members = _from_flags(coordinator, processes, process) or _from_cluster()
    if members is None or members["num_processes"] == 1:
        return
    _wait_for(members["coordinator_address"], members["process_id"], members["num_processes"])
    with _ctrl_c_ends_at_once():
        jax.distributed.initialize(
            **members,
            cluster_detection_method="deactivate",  # `_from_cluster` has asked already
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=LEAVE_SECONDS,
        )


@contextlib.contextmanager
def _ctrl_c_ends_at_once():
    """JAX waits for the other hosts in C++, where Python would hear of a Ctrl-C only minutes later; nothing has begun yet."""
    if threading.current_thread() is not threading.main_thread():  # it may not change signals, nor does it get them
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _from_flags(coordinator, processes, process) -> dict | None:
    """Arguments of `jax.distributed.initialize`; None: no flag was given."""
    are_set = [value is not None for value in (coordinator, processes, process)]
    if not any(are_set):
        return None
    if not all(are_set):
        raise UserError(f"several processes need all three of {FLAGS}.")
    if not _is_address(coordinator):
        raise UserError(f"--coordinator is {coordinator!r}; give host and port of process 0, such as 10.0.0.1:8476.")
    if not 0 <= process < processes:
        raise UserError(f"--process is {process} and --processes {processes}; processes are counted from 0.")
    return dict(coordinator_address=coordinator, num_processes=processes, process_id=process)


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    try:
        named = bool(host.encode("idna"))  # what the socket would do with it
    except UnicodeError:
        named = False
    return named and host.isprintable() and re.fullmatch("[0-9]{1,5}", port) is not None and 0 < int(port) < 2**16


def _from_cluster() -> dict | None:
    """The same from the cluster that this process is of; None where there is none, or only this process."""
    for cluster in (clusters.SlurmCluster, clusters.GkeTpuCluster, clusters.GceTpuCluster):
        on_tpu = cluster is not clusters.SlurmCluster
        if on_tpu and "tpu" not in (os.environ.get("JAX_PLATFORMS") or "tpu"):
            continue  # the CPUs of a TPU host were asked for
        try:
            if cluster.is_env_present():
                return _described(cluster, on_tpu) if cluster.get_process_count() > 1 else None
        except (RuntimeError, OSError) as error:  # of the metadata server, or a host that is not there
            raise UserError(f"{cluster.name} does not say who the hosts are ({error}); give {FLAGS}.") from error
    return None


def _described(cluster, on_tpu: bool) -> dict:
    coordinator = cluster.get_coordinator_address(CONNECT_SECONDS, os.environ.get("JAX_COORDINATOR_PORT"))
    count = cluster.get_process_count()
    # One process a node takes all its devices (JAX by itself would take the first); several take one each.
    several = not on_tpu and count > int(os.environ["SLURM_STEP_NUM_NODES"])
    devices = [cluster.get_local_process_id()] if several else None
    members = dict(coordinator_address=coordinator, num_processes=count, process_id=cluster.get_process_id())
    return members | {"local_device_ids": devices}


def _wait_for(address: str, process: int, processes: int) -> None:
    """Returns when process 0 listens; JAX itself would abort with a stack trace instead of an error."""
    if process == 0:
        print(
            f"process 0 of {processes}: waits at {address} for the others, {CONNECT_SECONDS} s at most", file=sys.stderr
        )
        return
    host, _, port = address.rpartition(":")
    until = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise UserError(
                    f"process {process} cannot reach process 0 at {address} ({error}); start the same command with "
                    "--process=0 there, and see that the port is open between the hosts."
                ) from error
        time.sleep(0.2)


def several() -> bool:
    """True when this process is one of several."""
    return global_state.num_processes > 1


def is_first() -> bool:
    """True in the one process that writes small files."""
    return global_state.process_id == 0


def barrier(name: str) -> None:
    """Returns when all processes have come here; `name` says where, in errors."""
    if several():
        global_state.client.wait_at_barrier(f"babel_jax/{name}", 1000 * WAIT_SECONDS)


def agree(value: float) -> float:
    """Process 0's value, on all processes; all must call this, in the same order."""
    if not several():
        return value
    number, client = next(_questions), global_state.client
    if is_first():
        client.key_value_set(f"babel_jax/agree/{number}", repr(float(value)))
    answer = float(client.blocking_key_value_get(f"babel_jax/agree/{number}", 1000 * WAIT_SECONDS))
    if number % 1024 == 1023:  # all have read: process 0 need not keep the answers of a long run
        barrier("agree")
        if is_first():
            client.key_value_delete("babel_jax/agree/")
    return answer
