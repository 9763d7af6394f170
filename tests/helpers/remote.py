"""A sandbox in a process of its own, which may be another user's, with secrets that programs should not find."""

import base64
import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import Finished, Isolation, Limits, Writable, syscalls

PYTHON = "/usr/bin/python3"
SOMEBODY = 61500 + os.getpid() % 3000  # an unprivileged user, none of a sandbox's own, and of this process alone
QUICK = Limits(cpu_seconds=2, wall_seconds=20)

IN_MEMORY = {"TMPDIR": "/dev/shm"}  # a disk may take seconds to remove 1,500 folders

SERVER = """
import base64, ctypes, dataclasses, json, os, platform, sys
from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import syscalls
if sys.argv[1] == "available":
    print(json.dumps(sandbox.available()))
    try:
        sandbox.open_sandbox("bubblewrap")
    except sandbox.UserError as error:
        print(error)
    sys.exit()
if len(sys.argv) > 2:
    os.set_inheritable(os.open(sys.argv[2], os.O_RDONLY), True)
    number = syscalls.KEYCTL[platform.machine()]  # a keyring of its own, with a secret in it; add_key comes two calls before
    ctypes.CDLL(None).syscall(number, 1, None)
    key = ctypes.CDLL(None).syscall(number - 2, b"user", b"babel_jax_secret", b"secret", 6, -3)
    assert key > 0 or not os.path.exists("/proc/keys")
with sandbox.Sandbox(sys.argv[1], 2) as opened:
    print(json.dumps(dataclasses.asdict(opened.describe()) | {"directory": str(opened._directory)}), flush=True)
    for line in sys.stdin:
        words = json.loads(line)
        words["limits"] = sandbox.Limits(**words["limits"])
        writable = {name: sandbox.Writable(place) for name, place in words.pop("writable").items()}
        words["directories"] |= writable
        if words.pop("leaves", False):  # in a folder, which the next program sees and which is then removed
            with sandbox.temporary_folder("test_leaves_") as folder:
                words["directories"]["out"] = sandbox.Writable(folder)
                finished = opened.run(words.pop("argv"), **words)
                seen = opened.run(["ls", "-a", "{out}"], directories={"out": folder})
                assert seen.status == 0, seen
            assert not folder.exists()
        else:
            finished = opened.run(words.pop("argv"), **words)
        finished = dataclasses.asdict(finished)
        finished["stdout"] = base64.b64encode(finished["stdout"]).decode()
        finished["stderr"] = base64.b64encode(finished["stderr"]).decode()
        print(json.dumps(finished), flush=True)
"""


def without_libseccomp():
    """In the place of `syscalls._library`."""
    raise OSError(f"libseccomp.so.2 not found; {syscalls.INSTALL}")


class Remote:
    """A sandbox in a process of another user, None: of this one. `run` as of `Sandbox`.

    secret: a file that the process has open, and that is marked to be inherited.
    """

    def __init__(self, level: str, home: Path, user: int | None = SOMEBODY, secret: Path | None = None):
        self.home = home
        code = home / "code"
        if not code.exists():
            package = Path(sandbox.__file__).parents[2]
            shutil.copytree(package / "suites" / "sandbox", code / "babel_jax" / "suites" / "sandbox")
            (code / "babel_jax" / "common").mkdir()
            for name in ("__init__.py", "common/__init__.py", "common/errors.py", "suites/__init__.py"):
                shutil.copy(package / name, code / "babel_jax" / name)
        become = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups", "--"] if user else []
        self.process = subprocess.Popen(
            [*become, PYTHON, "-c", SERVER, level, *([str(secret)] if secret else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env={"PATH": sandbox.PATH, "PYTHONPATH": str(code), "SECRET": "in the environment"} | IN_MEMORY,
        )
        about = json.loads(self.process.stdout.readline())
        self._directory = Path(about.pop("directory"))
        self.level, self.pid, self.description = level, self.process.pid, Isolation(**about)

    def describe(self):
        return self.description

    def run(self, argv, *, limits=QUICK, directories=(), **words):
        words |= {"argv": argv, "limits": dataclasses.asdict(limits), "directories": {}, "writable": {}}
        for name, place in dict(directories).items():
            writable = isinstance(place, Writable)
            words["writable" if writable else "directories"][name] = str(place.place if writable else place)
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        finished = json.loads(self.process.stdout.readline())
        for stream in ("stdout", "stderr"):
            finished[stream] = base64.b64decode(finished[stream])
        return Finished(**finished)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()
