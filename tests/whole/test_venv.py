"""launch/venv.sh: the environment is the project's, wherever one stands, and no other one is touched."""

import shutil
import subprocess

import pytest
from helpers import ROOT

PYTHON = """#!/usr/bin/env bash
case "$*" in
  "--version") echo "Python 3.11.0" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"pip install"*) exit ${PIP_STATUS:-0} ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project" / "launch").mkdir(parents=True)
    for name in ("launch/venv.sh", "launch/common.sh", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / "project" / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path / "project"


def sourced(project, cwd, **environment) -> subprocess.CompletedProcess:
    """What a shell that sources the script says at its end, the status first."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(project.parent / "python")} | environment
    code = f'. "{project}/launch/venv.sh"; echo "$?"; echo "${{PATH%%:*}}"'
    return subprocess.run(["bash", "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)


def test_sourced_from_elsewhere_it_makes_and_finds_the_projects_own(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".venv").mkdir(parents=True)
    (elsewhere / ".venv" / "mine").touch()
    made, found = sourced(project, elsewhere), sourced(project, elsewhere)
    assert made.stdout.splitlines()[1:] == ["0", f"{project}/.venv/bin"] and made.stdout.startswith("making .venv")
    assert found.stdout.splitlines() == ["0", f"{project}/.venv/bin"]
    assert (elsewhere / ".venv" / "mine").exists()


def test_an_environment_that_it_did_not_make_stays(project):
    (project / ".venv").mkdir()
    (project / ".venv" / "mine").touch()
    done = sourced(project, project)
    assert done.stdout.splitlines() == ["1", "/usr/bin"]
    assert done.stderr == f"error: {project}/.venv is not one that this script made; move it away, and run again.\n"
    assert (project / ".venv" / "mine").exists()


def test_a_failed_install_is_no_environment_and_is_done_again(project):
    failed = sourced(project, project, PIP_STATUS="1")
    assert failed.stdout.splitlines()[1:] == ["1", "/usr/bin"] and not (project / ".venv" / "installed.txt").exists()
    assert sourced(project, project).stdout.splitlines()[1:] == ["0", f"{project}/.venv/bin"]
    (project / "requirements.txt").write_text("other\n")
    assert sourced(project, project).stdout.startswith("making .venv"), "other requirements, another environment"
