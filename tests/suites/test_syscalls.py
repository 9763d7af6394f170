"""Calls to the kernel, to the network and to other processes that a program must not make."""

import ctypes
import json
import os
import platform
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.remote import PYTHON, without_libseccomp
from helpers.sandboxes import attack, needs_python, printed

from babel_jax.suites.sandbox import (
    Sandbox,
    syscalls,
)

pytestmark = [pytest.mark.processes, needs_python]


def test_other_processes_cannot_be_seen_or_killed(opened):
    source = """
import os, signal, sys
pid = int(sys.argv[1])
try: os.kill(pid, 0); print("killable")
except OSError: pass
try: open(f"/proc/{pid}/environ").read(); print("environment read")
except OSError: pass
import ctypes
PTRACE_SEIZE = 0x4206  # unlike PTRACE_ATTACH it does not stop the process, were it to succeed
if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, pid, 0, 0) == 0: print("traced")
"""
    result = printed(attack(opened, source, opened.pid))
    if opened.level == "rlimits" and opened.user == "unprivileged":
        assert "killable" in result and "environment read" in result
    else:
        assert result == ""


def test_a_program_has_no_capabilities(opened):
    capabilities = (
        "print([line.split()[1] for line in open('/proc/self/status') if line[:6] in ('CapEff', 'CapPrm', 'CapAmb')])"
    )
    assert set(json.loads(printed(attack(opened, capabilities)).replace("'", '"'))) == {"0" * 16}


CONNECT = """
import socket, sys
for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_UNIX, sys.argv[2].replace("@", chr(0)))):
    try: s = socket.socket(family); s.settimeout(3); s.connect(address); print("connected")
    except OSError as error: print("not", file=sys.stderr)
"""


def test_servers_of_this_machine_cannot_be_reached(opened):
    name = f"babel_jax_test_{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{name}")
        local.listen()
        result = printed(attack(opened, CONNECT, listener.getsockname()[1], f"@{name}")).split()
    assert result == []


def test_there_is_no_network_outside(opened):
    if opened.level == "rlimits":
        pytest.skip("rlimits: not promised")
    source = """
import errno, socket
for kind, port in ((socket.SOCK_STREAM, 80), (socket.SOCK_DGRAM, 53)):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(3)
    try: s.connect(("192.0.2.1", port)); print("connected")
    except OSError as error: assert error.errno == errno.ENETUNREACH, error
try: print(socket.getaddrinfo("example.org", 80))
except OSError: pass
print(*(line.partition(":")[0].strip() for line in open("/proc/net/dev") if ":" in line))
"""
    finished = attack(opened, source)
    assert printed(finished) == "lo"


@pytest.mark.parametrize("missing", [False, True], ids=["filter", "no filter"])
def test_a_keyring_of_its_own(here, monkeypatch, missing):
    """Also where there is no filter: what the caller keeps in its session keyring is not in the program's."""
    number = syscalls.KEYCTL.get(platform.machine())
    if number is None or not Path("/proc/keys").exists():
        pytest.skip("the kernel has no keys, or their calls are not known for this machine")
    if missing:
        monkeypatch.setattr(syscalls, "_library", without_libseccomp)
    source = f"""
import ctypes
KEYCTL_SEARCH, SESSION = 10, -3
print(ctypes.CDLL(None).syscall({number}, KEYCTL_SEARCH, SESSION, b"user", b"babel_jax_test", 0) > 0)
"""

    def with_a_key():
        syscalls.confine_thread(None)
        ADD_KEY, SESSION = number - 2, -3
        assert ctypes.CDLL(None).syscall(ADD_KEY, b"user", b"babel_jax_test", b"secret", 6, SESSION) > 0
        bare = subprocess.run([PYTHON, "-c", source], capture_output=True, text=True).stdout
        with Sandbox(here.level, 1) as opened:
            return bare, printed(attack(opened, source)), bool(opened.describe().filter)

    with ThreadPoolExecutor(1) as thread:  # the keyring is a thread's
        bare, inside, filter = thread.submit(with_a_key).result()
    assert (bare, inside, filter) == ("True\n", "False", not missing)


def test_a_kernel_that_takes_no_filter(monkeypatch):
    def refuses(program):
        if program is not None:
            raise OSError(22, "no filter of system calls: Invalid argument")

    monkeypatch.setattr(syscalls, "confine_thread", refuses)
    with Sandbox("rlimits", 1) as opened:
        assert opened.describe().without_filter == "[Errno 22] no filter of system calls: Invalid argument"
        assert opened.run(["true"]).status == 0
