"""Several processes as one: who they are, who is the first, waiting for each other, agreeing on a number.

Each host runs the same command. `initialize` joins them, from flags or from what the cluster says of itself; with one host
it does nothing and the other functions cost nothing. They talk through JAX's coordination service, not through the
devices: a question to the other hosts must not wait until the queued training steps have run.
"""

import itertools
import os

import jax
from jax._src import clusters, distributed

from babel_jax.files import UserError

CONNECT_SECONDS = 300  # hosts of a pod start minutes apart
HEARTBEAT_SECONDS = 60  # a host that was not heard for so long is dead, and the others end too (then all are restarted)
WAIT_SECONDS = 3600  # for hosts that are alive but behind: one of them may be measuring, or writing a large checkpoint
FLAGS = "--coordinator=HOST:PORT --processes=N --process=I"

_questions = itertools.count()  # of `agree`; all hosts ask the same in the same order


def initialize(coordinator: str | None = None, processes: int | None = None, process: int | None = None) -> None:
    """Joins the processes of this run; call it before any device is used. One host and no flags: does nothing.

    Args:
      coordinator: "host:port" of process 0, and
      processes, process: how many there are and which this one is, from 0. All three, or none: then SLURM, the metadata of
        a TPU VM or of a GKE node, or JAX_COORDINATOR_ADDRESS say whether there are several.

    Raises:
      UserError: half of the flags are given, or they contradict each other; the others cannot be reached.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given):
        if not all(given):
            raise UserError(f"several hosts need all of {FLAGS}, and none of them can be left out.")
        host, colon, port = coordinator.rpartition(":")
        if not host or not port.isdigit():
            raise UserError(f"--coordinator is '{coordinator}'; give the host and port of process 0, such as 10.0.0.1:8476.")
        if not 0 <= process < processes:
            raise UserError(f"--process is {process} of --processes={processes}; they count from 0 to {processes - 1}.")
        members = {"coordinator_address": coordinator, "num_processes": processes, "process_id": process}
    else:
        members = _found()
    if members is None or members["num_processes"] == 1:
        return
    try:
        jax.distributed.initialize(
            **members,
            cluster_detection_method="deactivate",  # `_found` has asked already
            initialization_timeout=CONNECT_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"process {members['process_id']} of {members['num_processes']} could not join the others at "
            f"{members['coordinator_address']} within {CONNECT_SECONDS} seconds ({str(error).splitlines()[0]}); see that "
            "all run the same command, and that nothing stands between them and that port."
        ) from error


def _found() -> dict | None:
    """What the cluster says of this process; None where there is no cluster."""
    for cluster in (clusters.SlurmCluster, clusters.GkeTpuCluster, clusters.GceTpuCluster):
        on_tpu = cluster is not clusters.SlurmCluster
        if on_tpu and os.environ.get("JAX_PLATFORMS", "tpu").split(",")[0] != "tpu":
            continue  # the CPUs of a TPU host were asked for
        if not cluster.is_env_present() or cluster.get_process_count() == 1:
            continue
        found = {
            "coordinator_address": cluster.get_coordinator_address(CONNECT_SECONDS, os.environ.get("JAX_COORDINATOR_PORT")),
            "num_processes": cluster.get_process_count(),
            "process_id": cluster.get_process_id(),
        }
        # One process a node takes all its devices (JAX alone would take the first); several share them, one each.
        if not on_tpu and found["num_processes"] > int(os.environ.get("SLURM_STEP_NUM_NODES", 1)):
            found["local_device_ids"] = [cluster.get_local_process_id()]
        return found
    return None


def is_first() -> bool:
    """True in the one process that writes small files."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Returns when all processes have come here; `name` says where, in errors."""
    if jax.process_count() > 1:
        distributed.global_state.client.wait_at_barrier(f"babel_jax/{name}", 1000 * WAIT_SECONDS)


def agree(value: float) -> float:
    """The value that process 0 gave, on all processes; all must ask, in the same order."""
    if jax.process_count() == 1:
        return value
    client = distributed.global_state.client
    key = f"babel_jax/agree/{next(_questions)}"
    if is_first():
        client.key_value_set(key, repr(float(value)))
    return float(client.blocking_key_value_get(key, 1000 * WAIT_SECONDS))
