"""Sandboxes at every level, and what lies outside of them; toolchains that are ready."""

import contextlib
import os
import tempfile
import types
from pathlib import Path

import pytest
from helpers.programs import COMPILE, RUN, SENTINEL
from helpers.remote import IN_MEMORY, SOMEBODY, Remote
from helpers.sandboxes import need

from babel_jax.suites.sandbox import (
    LEVELS,
    Sandbox,
)
from babel_jax.suites.toolchains.toolchain import Conditions


@pytest.fixture(scope="session")
def open_directory():
    """A directory that every user can reach, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="test_sandbox_") as place:
        os.chmod(place, 0o755)
        yield Path(place)


@pytest.fixture(
    scope="session", params=[(user, level) for user in ("root", "unprivileged") for level in LEVELS], ids="-".join
)
def opened(request, open_directory):
    """A sandbox at one level: of this process, or of an unprivileged user's."""
    user, level = request.param
    if (os.geteuid() == 0) != (user == "root") and os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    need(level)
    with contextlib.ExitStack() as stack:
        if user == "unprivileged" and os.geteuid() == 0:
            sandbox = stack.enter_context(contextlib.closing(Remote(level, open_directory)))
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(tempfile, "tempdir", IN_MEMORY["TMPDIR"])
                sandbox = stack.enter_context(Sandbox(level, 2))
            sandbox.pid = os.getpid()
        sandbox.user = user
        yield sandbox


@pytest.fixture
def outside(opened, open_directory):
    """Directories of the caller: a closed one with a secret, one in which everybody may write."""
    home = Path(tempfile.mkdtemp(dir=open_directory))
    places = types.SimpleNamespace(secret=home / "closed" / "secret", open=home / "open", closed=home / "closed")
    places.closed.mkdir(mode=0o700)
    places.secret.write_text("secret")
    places.secret.chmod(0o600)
    places.open.mkdir()
    places.open.chmod(0o777)
    home.chmod(0o755)
    if opened.user == "unprivileged" and os.geteuid() == 0:
        for place in (places.closed, places.secret, places.open):
            os.chown(place, SOMEBODY, SOMEBODY)
    return places


@pytest.fixture(params=LEVELS)
def here(request):
    """A sandbox of this process at each level."""
    need(request.param)
    with Sandbox(request.param, 4) as sandbox:
        yield sandbox


@pytest.fixture
def in_memory(monkeypatch):
    """Folders are made where it takes no time to remove many of them."""
    if os.access(IN_MEMORY["TMPDIR"], os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", IN_MEMORY["TMPDIR"])


@pytest.fixture
def place(sandboxed, tmp_path):
    """A folder that programs can be shown."""
    with sandboxed.reachable(tmp_path) as place:
        yield place


@pytest.fixture
def execute(sandboxed, ready):
    def run(code, sentinel=SENTINEL, run_limits=RUN, repair_imports=False):
        conditions = Conditions(sentinel, COMPILE, run_limits, repair_imports)
        return ready(code.language).execute(sandboxed, code, conditions)

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """What runs programs in a sandbox starts other processes."""
    for item in items:
        if {"sandboxed", "opened", "here"}.intersection(item.fixturenames):
            item.add_marker("processes")
