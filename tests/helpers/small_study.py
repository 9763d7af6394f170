"""A study so small that a test can run it, by the verb or in this process, and the processes that it starts."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from babel_jax.cli.settings import load_config
from babel_jax.common import machine
from babel_jax.study.plan import Study
from helpers import SMALL_WORLD, environment

STEPS = 24


PATIENCE = 600  # seconds that another process may take to get somewhere; a busy machine takes a tenth of it


CONFIG = f"""
from ml_collections import ConfigDict

def get_config():
    def run(source, **changes):
        return dict(steps={STEPS}, stages=({{"tokens": 0, "weights": {{source: 1.0}}}},), **changes)

    return ConfigDict(dict(
        kind="organism", primary="python", new="php", seeds=(0,), world={SMALL_WORLD},
        common=dict(batch_size=16, model=dict(preset="tiny", tied_head=False), optimizer=dict(learning_rate=4e-3)),
        runs=dict(
            primary_only=run("primary"),
            new_only=run("new"),
            continual=run("new", init_from="primary_only", checkpoint_steps=(0, 4, 8, 16)),
            control=run("new_control", init_from="primary_only", checkpoint_steps=(0, 16)),
            replay=run("new", init_from="primary_only", checkpoint_steps=(0, 4, 8, 16)),
            mix=dict(steps={STEPS}),
        ),
        original=dict(python=11, php=23),
        sweep=(0.5,),
        replay=(0.25,),
        candidates=("unimax", "schedule"),
    ))
"""


def several(config_file, *settings):
    """The config of a study of two new languages."""
    return load_config(
        str(config_file),
        ["--config.new=php,go", "--config.original.go=16", "--config.world.shared_words={'php':8,'go':20}", *settings],
    )


def study_of(config_file, workdir=None, *settings) -> Study:
    return Study(load_config(str(config_file), list(settings)), workdir)


def command(config_file, workdir):
    """The verb `study`, which goes through all that it does: so short a training solves nothing, and that counts as learned."""
    program = "import sys; from babel_jax.evolution import stages; from babel_jax.__main__ import main; "
    program += "stages.CHANCE = -1; sys.exit(main(sys.argv[1:]))"
    arguments = ["study", f"--config={config_file}", f"--workdir={workdir}", "--jobs=2"]
    return [sys.executable, "-c", program, *arguments]


def run_study(config_file, workdir):
    done = subprocess.run(command(config_file, workdir), env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def processes_in(group: int) -> dict[int, str]:
    """The processes of a process group that have not ended, with their command lines (Linux).

    One that is about to end has no command line any more. `multiprocessing` has a process of its own beside the workers, which
    ends when it notices that they and their parent have.
    """
    found = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            state, _, its_group = Path(f"/proc/{int(entry)}/stat").read_text().rsplit(")", 1)[1].split()[:3]
            if int(its_group) == group and state != "Z":
                found[int(entry)] = Path(f"/proc/{entry}/cmdline").read_text().replace("\0", " ").strip()
    return found


def workers_in(group: int) -> list[str]:
    return [command for command in processes_in(group).values() if "spawn_main" in command]


def wait_until_gone(group: int) -> None:
    """All processes of a group end, sooner or later."""
    deadline = time.monotonic() + PATIENCE
    while left := processes_in(group):
        assert time.monotonic() < deadline, f"outlive their parent: {left}"
        time.sleep(0.05)


def sleep_for_ever(ready) -> None:
    """A worker in the middle of something that says nothing, such as a long compilation."""
    machine.begin_worker(multiprocessing.parent_process())
    ready.touch()
    time.sleep(1000)
