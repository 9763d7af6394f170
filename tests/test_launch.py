"""launch/: what the scripts run, word for word, on fake gcloud, kubectl and SLURM commands that record their arguments."""

import os
import re
import shutil
import subprocess
import time

import pytest
import yaml
from helpers import ROOT

NASTY = [
    "train",
    "--config=my configs/it's.py",
    '--workdir=gs://b/"q" $HOME $(id) `id` \\ * ;&',
    "",
    "--run=mix_0.5000",
]
TOOLS = "bash basename cat cmp cp cut date dirname git grep gzip head id ls mkdir mktemp nohup ps rm sed seq sh sleep tail tar wc"

# Each call leaves a file of its arguments; what a command answers stands in files that the tests write.
FAKE = r"""#!/usr/bin/env bash
n=$(printf %04d $(($(ls "$CALLS" | wc -l) + 1)))
printf '%s\0' "${0##*/}" "$@" > "$CALLS/$n"
pop() { [ -s "$1" ] || return 0; head -n 1 "$1"; sed -i 1d "$1"; }
case "${0##*/} $*" in
  gcloud*\ describe*)
    state=$(pop "$ANSWERS/states")
    case ${state:-ACTIVE} in
      ABSENT) echo "ERROR: (gcloud) NOT_FOUND: Resource was not found" >&2; exit 1 ;;
      UNKNOWN) echo "ERROR: (gcloud) the network is down" >&2; exit 1 ;;
    esac
    echo "${state:-ACTIVE}" ;;
  gcloud*\ scp*) cp "$5" "$REMOTE" ;;
  gcloud*worker.sh\ state)
    answer=$(pop "$ANSWERS/progress"); [ "$answer" != down ] || exit 255
    echo "babel_jax: ${answer:-done}" ;;
  gcloud*worker.sh\ start*) exit "$(answer=$(pop "$ANSWERS/starts"); echo "${answer:-0}")" ;;
  kubectl*apply*) cat > "$ANSWERS/manifest" ;;
  srun*) exit "$(answer=$(pop "$ANSWERS/statuses"); echo "${answer:-0}")" ;;
esac
"""


class Place:
    """A copy of the scripts in a git repository whose path has spaces and quotes, and fake commands."""

    def __init__(self, home):
        self.home, self.project = home, home / "the project's $copy"
        for folder in ("calls", "answers", "remote", "fakes", "tools"):
            (home / folder).mkdir()
        shutil.copytree(ROOT / "launch", self.project / "launch")
        shutil.copy(ROOT / "requirements.txt", self.project)
        for tool in TOOLS.split():
            if where := shutil.which(tool):
                (home / "tools" / tool).symlink_to(where)
        for name in ("gcloud", "kubectl", "sbatch", "srun", "squeue", "scancel", "scontrol"):
            (home / "fakes" / name).write_text(FAKE)
            (home / "fakes" / name).chmod(0o755)
        self.paths = f"{home / 'fakes'}:{home / 'tools'}"
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
            self.sh("git", "-c", "user.name=n", "-c", "user.email=e@x", *command, check=True)

    def sh(self, *command, check=False, paths=None, **environment):
        settings = dict(
            PATH=paths or self.paths, CALLS=self.home / "calls", ANSWERS=self.home / "answers", REMOTE=self.home / "remote",
            HOME=self.home / "remote", TMPDIR=self.home, POLL_SECONDS="0", RETRY_SECONDS="0",
        )  # fmt: skip
        environment = {name: str(value) for name, value in (settings | environment).items()}
        return subprocess.run(
            command, env=environment, cwd=self.project, capture_output=True, text=True, timeout=60, check=check
        )

    def launch(self, script, *arguments, **options):
        return self.sh("bash", str(self.project / "launch" / script), *arguments, **options)

    def answer(self, name, *lines):
        (self.home / "answers" / name).write_text("".join(f"{line}\n" for line in lines))

    def calls(self):
        """The commands since the last question."""
        files = sorted((self.home / "calls").iterdir())
        found = [file.read_text().split("\0")[:-1] for file in files]
        for file in files:
            file.unlink()
        return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


RUNS = {
    "tpu_pod.sh": ["run", "pod-1", "--zone=us-central2-b", "--accelerator-type", "v5p-128", "--spot", "--", *NASTY],
    "gke.sh": ["run", "pod-1", "--context", "my ctx", "--accelerator=tpu-v5p-slice", "--topology=4x4x4", "--spot",
               "--slices=2", "--image=h/it's:1", "--", *NASTY],
    "slurm.sh": ["run", "pod-1", "--nodes", "4", "--comment=it's $5", "--", *NASTY],
}  # fmt: skip
OTHERS = [
    ("tpu_pod.sh", "create", "--zone=z", "--accelerator-type=v4-8", "--reserved", "--labels=a=b c"),
    ("tpu_pod.sh", "status", "--zone", "z", "--project=p"),
    ("tpu_pod.sh", "logs", "--zone=z", "--worker=all", "--follow", "--internal-ip"),
    ("tpu_pod.sh", "delete", "--zone=z"),
    ("gke.sh", "status", "--namespace=n"),
    ("gke.sh", "logs", "--worker=3", "--follow"),
    ("gke.sh", "delete"),
    ("slurm.sh", "status"),
    ("slurm.sh", "cancel"),
]


@pytest.mark.parametrize(
    "command", [[script, *arguments] for script, arguments in RUNS.items()] + [[s, v, "pod-1", *f] for s, v, *f in OTHERS],
    ids=lambda command: f"{command[0]} {command[1]}",
)  # fmt: skip
def test_dry_run_prints_exactly_what_it_would_run(place, command):
    """With none of the tools at hand it prints; what it prints, given to bash, makes the calls of the true run."""
    script, *arguments = command
    printed = place.launch(script, "--dry-run", *arguments, paths=place.home / "tools")
    assert printed.returncode == 0, printed.stderr
    assert place.calls() == []
    assert not (place.project / "runs").exists()
    states = ["ABSENT", "ACTIVE"] if arguments[0] in ("run", "create") else ["ACTIVE"]
    place.answer("states", *states)
    assert place.sh("bash", "-c", printed.stdout).stderr.count("error") <= 1  # the fake NOT_FOUND
    typed, manifest = place.calls(), place.home / "answers" / "manifest"
    as_typed = manifest.read_text() if manifest.exists() else ""
    place.answer("states", *states)
    done = place.launch(script, *arguments)
    assert done.returncode == 0, done.stderr
    assert place.calls() == typed and typed
    assert not manifest.exists() or manifest.read_text() == as_typed


def test_tpu_commands(place):
    place.answer("states", "ABSENT")
    place.launch("tpu_pod.sh", *RUNS["tpu_pod.sh"])
    commit = place.sh("git", "rev-parse", "HEAD").stdout[:12]
    where = ["--quiet", "--zone=us-central2-b"]
    qr = ["gcloud", "compute", "tpus", "queued-resources"]
    describe = [*qr, "describe", "pod-1", *where, "--format=value(state.state)"]
    calls = place.calls()
    assert [call[4] for call in calls] == ["describe", "create", "describe", "scp", "ssh", "describe", "ssh"]
    assert calls[0] == describe
    assert calls[1] == [*qr, "create", "pod-1", *where, "--accelerator-type=v5p-128", "--runtime-version=v2-alpha-tpuv5",
                        "--node-id=pod-1", "--spot"]  # fmt: skip
    assert calls[3] == [
        *qr,
        "scp",
        f"{place.home}/babel_jax-{commit}.tar.gz",
        "pod-1:",
        *where,
        "--node=all",
        "--worker=all",
    ]
    assert calls[4][:-1] == [*qr, "ssh", "pod-1", *where, "--node=all", "--worker=all"]
    assert calls[6][-1] == "--command=bash babel_jax_run/worker.sh state"
    place.launch(
        "tpu_pod.sh", "create", "pods", "--accelerator-type=v6e-16", "--node-count=2", "--runtime-version=mine"
    )
    place.answer("states", "ABSENT")
    place.launch(
        "tpu_pod.sh", "create", "pods", "--accelerator-type=v6e-16", "--node-count=2", "--runtime-version=mine"
    )
    (create,) = [call for call in place.calls() if call[4] == "create"]
    assert create[5:] == ["pods", "--quiet", "--accelerator-type=v6e-16", "--runtime-version=mine", "--node-count=2"]


def test_preempted_machines_are_asked_for_again(place):
    place.answer("states", "ABSENT", "WAITING_FOR_RESOURCES", "ACTIVE",  # asked for, got, started
                 "ACTIVE", "UNKNOWN", "SUSPENDING",  # the network is away for a moment; then preempted
                 "SUSPENDED", "ABSENT", "FAILED", "ABSENT", "ACTIVE",  # deleted, asked for, refused, asked for, got
                 "ACTIVE", "ACTIVE", "ACTIVE",  # the first start does not reach all workers
                 "ACTIVE")  # fmt: skip
    place.answer("progress", "running", "down", "running", "done")
    place.answer("starts", 0, 255, 0)
    done = place.launch("tpu_pod.sh", *RUNS["tpu_pod.sh"])
    assert done.returncode == 0, done.stderr
    what = [re.search(r"worker.sh (\w+)", call[-1])[1] if call[4] == "ssh" else call[4] for call in place.calls()]
    assert [word for word in what if word != "describe"] == [
        "create", "scp", "start", "state", "delete", "create", "delete", "create", "scp", "start", "scp", "start",
        "state", "state", "state",
    ]  # fmt: skip
    assert "SUSPENDED" in done.stdout and "finished" in done.stdout


@pytest.mark.parametrize(("answers", "message"), [
    (dict(progress=["running", "failed 2"]), "a worker ended with an error"),
    (dict(states=["FAILED", "ABSENT"] * 5), "pod-1 failed 5 times"),
])  # fmt: skip
def test_what_cannot_be_mended_ends_it(place, answers, message):
    for name, lines in answers.items():
        place.answer(name, *lines)
    done = place.launch("tpu_pod.sh", *RUNS["tpu_pod.sh"])
    assert done.returncode == 2 and message in done.stderr


def fake_python(place, project, *statuses):
    """A .venv in `project` whose Python records its arguments and ends with one status after the other."""
    place.answer("statuses", *statuses)
    (project / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "requirements.txt", project / ".venv" / "installed.txt")
    python = project / ".venv" / "bin" / "python"
    wait = 'python*babel_jax*) while [ -e "$ANSWERS/hold" ]; do sleep 0.02; done;'
    python.write_text(FAKE.replace("srun*)", wait))
    python.chmod(0o755)


@pytest.mark.parametrize(("statuses", "state"), [([134, 143, 0], "done"), ([134, 2], "failed 2")])
def test_worker_starts_the_command_until_it_has_ended(place, statuses, state):
    """The whole way: the archive unpacked, the command line of gcloud's ssh, the true worker.sh, a fake Python."""
    place.answer("states", "ABSENT")
    place.launch("tpu_pod.sh", *RUNS["tpu_pod.sh"])
    (start,) = [call[-1].removeprefix("--command=") for call in place.calls() if "worker.sh start" in call[-1]]
    remote = place.home / "remote"
    fake_python(place, remote / re.search(r"babel_jax-\w+", start)[0], *statuses)
    (place.home / "fakes" / "python3").write_text("#!/bin/sh\nexit 0\n")
    (place.home / "fakes" / "python3").chmod(0o755)
    ssh = ["bash", "-c", f'cd "$HOME" && {start}']
    place.answer("hold", "")

    def wait_for(said):
        until = time.monotonic() + 20
        asked = ["bash", str(remote / "babel_jax_run" / "worker.sh"), "state"]
        while (answer := place.sh(*asked).stdout) != f"babel_jax: {said}\n" and time.monotonic() < until:
            time.sleep(0.05)
        assert answer == f"babel_jax: {said}\n", (remote / "babel_jax_run" / "log").read_text()

    assert place.sh(*ssh).stdout == "babel_jax: started\n"
    wait_for("running")
    assert place.sh(*ssh).stdout == "babel_jax: running already\n"
    (place.home / "answers" / "hold").unlink()
    wait_for(state)
    calls = [call for call in place.calls() if call[0] == "python"]
    jax = re.search(r"^jax==(.*)$", (ROOT / "requirements.txt").read_text(), re.M)[1]
    assert calls[0][-1] == f"jax[tpu]=={jax}"
    assert calls[1:] == [["python", "-m", "babel_jax", *NASTY]] * len(statuses)
    (remote / "babel_jax_run" / "status").unlink()
    (remote / "babel_jax_run" / "pid").write_text(str(os.getpid()))  # booted again; the number is another process's
    assert place.sh("bash", str(remote / "babel_jax_run" / "worker.sh"), "state").stdout == "babel_jax: gone\n"


def test_gke_manifest(place):
    place.launch("gke.sh", *RUNS["gke.sh"])
    assert place.calls() == [["kubectl", "--context=my ctx", "apply", "--filename=-"]]
    jobset = yaml.safe_load((place.home / "answers" / "manifest").read_text())
    assert jobset["kind"] == "JobSet" and jobset["metadata"]["name"] == "pod-1"
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] == 100
    (slices,) = jobset["spec"]["replicatedJobs"]
    job = slices["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert (slices["replicas"], job["completions"], job["parallelism"], job["backoffLimit"]) == (2, 16, 16, 0)
    assert pod["restartPolicy"] == "Never"
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5p-slice",
        "cloud.google.com/gke-tpu-topology": "4x4x4",
        "cloud.google.com/gke-spot": "true",
    }
    assert container["image"] == "h/it's:1"
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": 4}
    assert container["command"] == ["python", "-m", "babel_jax"]
    assert [expanded(word) for word in container["args"]] == NASTY


def expanded(word):
    """What Kubernetes makes of an argument: $$ is a dollar, $(NAME) a variable of the container."""
    return re.sub(r"\$\$|\$\((\w+)\)", lambda found: "$" if found[0] == "$$" else f"<{found[1]}>", word)


@pytest.mark.parametrize(("topology", "per_node", "hosts"), [("2x2", None, 1), ("16x16", None, 64), ("2x4", "8", 1)])
def test_gke_hosts(place, topology, per_node, hosts):
    flags = ["--chips-per-node", per_node] if per_node else []
    place.launch("gke.sh", "run", "a", "--accelerator=v", f"--topology={topology}", "--image=i", *flags, "--", "train")
    jobset = yaml.safe_load((place.home / "answers" / "manifest").read_text())
    assert jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == hosts


@pytest.mark.parametrize(("statuses", "ends", "tries", "requeued"), [
    ([0], 0, 1, 0), ([134, 0], 0, 2, 0), ([2], 2, 1, 0), ([134, 143], 0, 2, 1),
])  # fmt: skip
def test_slurm_job(place, statuses, ends, tries, requeued):
    """What sbatch was given is run as SLURM does: a copy of the script, elsewhere, in the folder that --chdir says."""
    place.launch("slurm.sh", *RUNS["slurm.sh"])
    (sbatch,) = place.calls()
    assert {"--job-name=pod-1", "--nodes=4", "--comment=it's $5", "--requeue", "--signal=TERM@120"} < set(sbatch)
    assert f"--chdir={place.project}" in sbatch and (place.project / "runs" / "slurm").is_dir()
    script = sbatch.index(str(place.project / "launch" / "slurm.sh"))
    shutil.copy(sbatch[script], place.home / "slurm_script")
    fake_python(place, place.project)
    place.answer("statuses", *statuses)
    done = place.sh("bash", str(place.home / "slurm_script"), *sbatch[script + 1 :], SLURM_JOB_ID="77")
    assert done.returncode == ends, done.stderr
    calls = place.calls()
    task = ["srun", "--ntasks-per-node=1", "--kill-on-bad-exit=1", "python", "-u", "-m", "babel_jax", *NASTY]
    assert calls == [task] * tries + [["scontrol", "requeue", "77"]] * requeued


def test_slurm_logs(place):
    place.launch("slurm.sh", *RUNS["slurm.sh"])
    (place.project / "runs" / "slurm" / "pod-1.log").write_text("step 1\n")
    assert place.launch("slurm.sh", "logs", "pod-1").stdout == "step 1\n"


@pytest.mark.parametrize(("command", "message"), [
    (["tpu_pod.sh", "run", "pod-1", "--accelerator-type=v4-8"], "say what to run"),
    (["tpu_pod.sh", "run", "a", "--accelerator-type=v4-8", "--", "train", "--workdir=/W"], "the workdir must be a bucket"),
    (["tpu_pod.sh", "create", "pod-1"], "--accelerator-type is missing"),
    (["tpu_pod.sh", "run", "a", "--accelerator-type=v4-8", "--commit=nowhere", "--", "--workdir=gs://b"], "no commit 'nowhere'"),
    (["tpu_pod.sh", "logs", "pod-1", "--spot"], "'logs' has no flag --spot"),
    (["tpu_pod.sh", "launch", "pod-1"], "unknown verb 'launch'"),
    (["gke.sh", "run", "pod-1", "--topology=4x4", "--image=i", "--", "train"], "--accelerator is missing"),
    (["gke.sh", "run", "a", "--accelerator=v", "--topology=4x4x", "--image=", "--", "train"], "--image is missing"),
    (["gke.sh", "run", "a", "--accelerator=v", "--topology=4*4", "--image=i", "--", "train"], "write it like 4x4x4"),
    (["gke.sh", "run", "a", "--accelerator=v", "--topology=3x3", "--image=i", "--", "train"], "do not divide"),
    (["gke.sh", "run", "a", "--accelerator=v", "--topology=2x2", "--image=i", "--slices=0", "--", "x"], "--slices is '0'"),
    (["slurm.sh", "run", "my job", "--", "train"], "small letters, digits and dashes"),
    (["slurm.sh", "run", "a", "train"], "what is to be run stands after --"),
    (["slurm.sh", "run"], "give a verb and a name"),
])  # fmt: skip
def test_mistakes_are_one_line(place, command, message):
    done = place.launch(*command)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert place.calls() == []


@pytest.mark.parametrize(("script", "tool"), [("tpu_pod.sh", "gcloud"), ("gke.sh", "kubectl"), ("slurm.sh", "sbatch")])
def test_missing_tool(place, script, tool):
    done = place.launch(script, *RUNS[script], paths=place.home / "tools")
    assert (
        done.returncode == 2 and done.stderr.startswith(f"error: {tool} is missing: ") and done.stderr.count("\n") == 1
    )


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck():
    scripts = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "launch").glob("*.sh"))
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
