"""launch/: what the scripts run, word for word, on fake gcloud, kubectl and SLURM commands that record their arguments."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time

import pytest
import yaml
from helpers import ROOT
from helpers.corpora import contents, write_sources

from babel_jax.common.files import write_json
from babel_jax.corpus import build
from babel_jax.corpus.licences import PERMISSIVE, permitted
from babel_jax.corpus.phases.order import PHASES
from babel_jax.languages.registry import LANGUAGES

pytestmark = pytest.mark.processes

NASTY = [
    "train",
    "--config=my configs/it's.py",
    '--workdir=gs://b/"q" $HOME $(id) `id` \\ * ;&',
    "",
    "--run=mix_0.5000",
]
TOOLS = (
    "awk bash basename cat cmp cp cut date dirname du find git grep gzip head id ls mkdir mktemp mv nohup ps rm sed seq sh "
    "sha256sum sleep tail tar uniq wc"
)

# Each call leaves a file of its arguments; what a command answers stands in files that the tests write.
FAKE = r"""#!/usr/bin/env bash
n=$(printf %04d $(($(ls "$CALLS" | wc -l) + 1)))
printf '%s\0' "${0##*/}" "$@" > "$CALLS/$n"
pop() { [ -s "$1" ] || return 0; head -n 1 "$1"; sed -i 1d "$1"; }
cannot() { cat "$ANSWERS/$1" >&2; exit 1; }
case "${0##*/} $*" in
  gcloud*\ describe*)
    state=$(pop "$ANSWERS/states")
    case ${state:-ACTIVE} in
      ABSENT) echo "ERROR: (gcloud) NOT_FOUND: Resource was not found" >&2; exit 1 ;;
      UNKNOWN) echo "ERROR: (gcloud) the network is down" >&2; exit 1 ;;
      LOST) rm "$ANSWERS/states"; mv "$ANSWERS/later" "$ANSWERS/describe" ;;
    esac
    [ ! -e "$ANSWERS/describe" ] || cannot describe
    [ ! -e "$ANSWERS/never" ] || state=ABSENT
    echo "${state:-ACTIVE}" ;;
  gcloud*\ create*) [ ! -e "$ANSWERS/create" ] || cannot create ;;
  gcloud*\ delete*) [ ! -e "$ANSWERS/delete" ] || cannot delete ;;
  gcloud*\ ssh*) [ ! -e "$ANSWERS/ssh" ] || cannot ssh ;;&
  gcloud*\ scp*) cp "$5" "$REMOTE" ;;
  gcloud*worker.sh\ state)
    answer=$(pop "$ANSWERS/progress"); [ "$answer" != down ] || exit 255
    echo "babel_jax: ${answer:-done}" ;;
  gcloud*worker.sh\ start*) exit "$(answer=$(pop "$ANSWERS/starts"); echo "${answer:-0}")" ;;
  kubectl*apply*) cat > "$ANSWERS/manifest" ;;
  sbatch\ --parsable*) echo "$((10#$n + 40));cluster" ;;
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

    def sh(self, *command, check=False, paths=None, timeout=60, **environment):
        settings = dict(
            PATH=paths or self.paths, CALLS=self.home / "calls", ANSWERS=self.home / "answers", REMOTE=self.home / "remote",
            HOME=self.home / "remote", TMPDIR=self.home, POLL_SECONDS="0", RETRY_SECONDS="0",
        )  # fmt: skip
        environment = {name: str(value) for name, value in (settings | environment).items()}
        return subprocess.run(
            command, env=environment, cwd=self.project, capture_output=True, text=True, timeout=timeout, check=check
        )

    def launch(self, script, *arguments, **options):
        return self.sh("bash", str(self.project / "launch" / script), *arguments, **options)

    def answer(self, name, *lines):
        (self.home / "answers" / name).write_text("".join(f"{line}\n" for line in lines))

    def calls(self):
        """The commands since the last question."""
        files = sorted((self.home / "calls").iterdir())
        calls = [file.read_text().split("\0")[:-1] for file in files]
        for file in files:
            file.unlink()
        return calls


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


RUNS = {
    "tpu_pod.sh": ["run", "pod-1", "--zone=us-central2-b", "--accelerator-type", "v5p-128", "--spot", "--", *NASTY],
    "gke.sh": ["run", "pod-1", "--context", "my ctx", "--accelerator=tpu-v5p-slice", "--topology=4x4x4", "--spot",
               "--slices=2", "--image=h/it's:1", "--", *NASTY],
    "slurm.sh": ["run", "pod-1", "--nodes", "4", "--comment=it's $5", "--", *NASTY],
    "slurm_corpus.sh": ["requirements.txt", "/o's/my $corpus", "12", "--time=9", "--partition=a b"],
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


# What gcloud says where it cannot ask.
GCLOUD = "ERROR: (gcloud.compute.tpus.queued-resources.describe) "
CANNOT = {
    "no account": "You do not currently have an active account selected.\nPlease run:\n\n  $ gcloud auth login\n\nto obtain "
    "new credentials.\n",
    "old account": "There was a problem refreshing your current auth tokens: ('invalid_grant: Bad Request', {})\nPlease run:\n\n"
    "  $ gcloud auth login\n",
    "no project": "The required property [project] is not currently set.\nYou may set it for your current workspace by running:"
    "\n\n  $ gcloud config set project VALUE\n",
    "no zone": "Error parsing [queued_resource].\nThe [queued resource] resource is not properly specified.\nFailed to find "
    "attribute [zone]. The attribute can be set in the following ways: \n- provide the argument `--zone` on the command line\n",
    "no permission": "PERMISSION_DENIED: Permission 'tpu.queuedResources.get' denied on 'projects/p/locations/z/x'\n- a: b\n",
    "API disabled": "PERMISSION_DENIED: Cloud TPU API has not been used in project 1 before or it is disabled.\n- a: b\n",
    "unknown command": "Invalid choice: 'queued-resources'.\nMaybe you meant:\n  gcloud compute tpus list\x1b[0m\n",
}


def one_error(done, *words):
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr[:-1].isprintable(), done.stderr
    assert all(" ".join(word.split()) in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(("why", "verb"), [*((why, "create") for why in CANNOT), ("no account", "run")])
def test_a_gcloud_that_is_not_set_up_ends_it_at_once(place, why, verb):
    (place.home / "answers" / "describe").write_text(GCLOUD + CANNOT[why])
    arguments = RUNS["tpu_pod.sh"] if verb == "run" else ["create", "pod-1", "--accelerator-type=v4-8"]
    one_error(place.launch("tpu_pod.sh", *arguments), CANNOT[why].splitlines()[0], "mend that")
    assert len(place.calls()) == 1


def test_what_is_not_created_or_deleted_ends_it(place):
    create = ["create", "pod-1", "--accelerator-type=v4-8"]
    (place.home / "answers" / "create").write_text(GCLOUD + "INVALID_ARGUMENT: no such type\nin this zone\n")
    place.answer("states", "ABSENT")
    one_error(place.launch("tpu_pod.sh", *create), "cannot create pod-1", "no such type in this zone")
    (place.home / "answers" / "create").unlink()
    (place.home / "answers" / "delete").write_text("ERROR: PERMISSION_DENIED\n")
    place.answer("states", "FAILED")
    one_error(place.launch("tpu_pod.sh", *create), "cannot delete pod-1", "PERMISSION_DENIED")
    (place.home / "answers" / "delete").write_text("ERROR: NOT_FOUND\n")  # somebody was faster
    place.answer("states", "SUSPENDED", "ABSENT", "ACTIVE")
    assert place.launch("tpu_pod.sh", *create).returncode == 0
    (place.home / "answers" / "create").write_text("ERROR: ALREADY_EXISTS\n")
    place.answer("states", "ABSENT", "ABSENT", "WAITING_FOR_RESOURCES", "ACTIVE")
    assert place.launch("tpu_pod.sh", *create).returncode == 0


def test_waiting_for_what_does_not_answer_has_an_end(place):
    """gcloud's account expires, the workers cannot be reached, what is created never comes: 60 looks, then one error."""
    (place.home / "answers" / "later").write_text(GCLOUD + CANNOT["old account"])
    place.answer("states", "ABSENT", "WAITING_FOR_RESOURCES", "UNKNOWN", "UNKNOWN", "ACTIVE", "LOST")
    one_error(place.launch("tpu_pod.sh", *RUNS["tpu_pod.sh"]), "cannot tell the state of pod-1", "invalid_grant")
    assert sum(call[4] == "describe" for call in place.calls()) == 5 + 60
    (place.home / "answers" / "describe").unlink()
    (place.home / "answers" / "ssh").write_text("ERROR: [IAP] access denied\n")
    done = place.launch("tpu_pod.sh", *RUNS["tpu_pod.sh"])
    assert done.returncode == 2 and "the workers of pod-1 do not answer" in done.stderr.splitlines()[-1]
    place.calls()
    (place.home / "answers" / "never").write_text("")
    one_error(place.launch("tpu_pod.sh", "create", "pod-1", "--accelerator-type=v4-8"), "pod-1 stays ABSENT")
    assert sum(call[4] == "create" for call in place.calls()) == 60


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "launch").glob("*.sh")))
def test_help_explains_and_does_nothing(place, script):
    """With nothing at hand, from any folder, wherever --help stands; nothing is installed, started or left behind."""
    before = {path for path in place.home.rglob("*") if ".git" not in path.parts}
    more = {"demo.sh": ["--config=x", "--help"], "test.sh": ["--slow", "-h"], "fetch_debian_corpus.sh": ["out", "--help"],
            "fetch_natural_corpus.sh": ["out", "de", "-h"],
            "slurm_corpus.sh": [*RUNS["slurm_corpus.sh"], "--help"], "tpu_pod.sh": ["create", "pod-1", "--help"],
            "gke.sh": ["run", "-h"], "slurm.sh": ["run", "a", "--nodes=1", "-h"]}  # fmt: skip
    first = (place.project / "launch" / script).read_text().splitlines()[1].removeprefix("# ")
    for arguments in (["--help"], ["-h"], *([more[script]] if script in more else [])):
        done = place.sh(
            "bash", "-c", 'cd "$1/launch"; shift; exec bash "$@"', "", str(place.project), script, *arguments
        )
        assert done.returncode == 0 and done.stdout.startswith(first) and not done.stderr, done
    assert place.calls() == []
    assert {path for path in place.home.rglob("*") if ".git" not in path.parts} == before


def fake_python(place, project, *statuses):
    """A .venv in `project` whose Python records its arguments and ends with one status after the other."""
    place.answer("statuses", *statuses)
    (project / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "requirements.txt", project / ".venv" / "installed.txt")
    python = project / ".venv" / "bin" / "python"
    wait = 'python*babel_jax*) while [ -e "$ANSWERS/hold" ]; do sleep 0.02; done;'
    python.write_text(FAKE.replace("srun*)", wait))
    python.chmod(0o755)


@pytest.mark.parametrize(
    "option, marks",
    [
        ((), ("-m", "not slow")),
        (("--quick",), ("-m", "not slow and not long and not processes and not oracle")),
        (("--slow",), ()),
    ],
)
def test_tests_run_in_two_workers_and_other_arguments_go_to_pytest(place, option, marks):
    fake_python(place, place.project, 0)
    assert place.launch("test.sh", *option, "-n", "3", "tests/my room").returncode == 0
    python = ["python", "-m", "pytest", "-n", "2", "--dist", "loadfile"]
    assert place.calls() == [[*python, *marks, "-n", "3", "tests/my room"]]


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

    def wait_for(state):
        until = time.monotonic() + 120
        asked = ["bash", str(remote / "babel_jax_run" / "worker.sh"), "state"]
        while (answer := place.sh(*asked).stdout) != f"babel_jax: {state}\n" and time.monotonic() < until:
            time.sleep(0.05)
        assert answer == f"babel_jax: {state}\n", (remote / "babel_jax_run" / "log").read_text()

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
    return re.sub(r"\$\$|\$\((\w+)\)", lambda match: "$" if match[0] == "$$" else f"<{match[1]}>", word)


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


def test_slurm_corpus_jobs(place):
    """A job or an array a phase, each after the one before; the first after what is left of an earlier build."""
    done = place.launch("slurm_corpus.sh", *RUNS["slurm_corpus.sh"])
    calls, phases = place.calls(), ["start", *PHASES, "finish"]
    assert done.stdout == "".join(f"{phase}: job {41 + k};cluster\n" for k, phase in enumerate(phases))
    script, log = f"{place.project}/launch/slurm_corpus.sh", f"{place.project}/runs/slurm/corpus-my $corpus"
    for k, (call, phase) in enumerate(zip(calls, phases, strict=True)):
        assert call[call.index(script) :] == [script, "job", phase, str(place.project), *RUNS["slurm_corpus.sh"][:3]]
        assert {"--job-name=corpus-my $corpus", "--kill-on-invalid-dep=yes", "--requeue", "--time=9"} < set(call)
        assert f"--dependency={f'afterok:{40 + k}' if k else 'singleton'}" in call
        assert ("--array=0-11" in call) == (phase not in ("start", "hold_out", "facts", "vocabulary", "finish"))
        assert f"--output={log}-{phase}{'-%a' if '--array=0-11' in call else ''}.log" in call
    fake_python(place, place.project)
    python = [
        "python",
        "-u",
        "-m",
        "babel_jax",
        "corpus",
        "build",
        "--manifest=requirements.txt",
        "--out=/o's/my $corpus",
    ]
    for phase, shard in (("vocabulary", None), ("tokens", 7)):
        call = calls[phases.index(phase)]
        copy = shutil.copy(script, place.home / "slurm_script")
        array = {} if shard is None else dict(SLURM_ARRAY_TASK_ID=shard)
        assert place.sh("bash", str(copy), *call[call.index(script) + 1 :], **array).returncode == 0
        assert place.calls() == [[*python, f"--phase={phase}", *([] if shard is None else ["--shard=7/12"])]]


# What sbatch does, at once: a copy of the script runs in --chdir, the shards of an array side by side, if the job that it
# depends on ended well. Of the phase in $ANSWERS/lost, shard 1 is lost with its node.
SBATCH = """#!{python}
import os, pathlib, shutil, subprocess, sys
answers, words = pathlib.Path(os.environ["ANSWERS"]), sys.argv[1:]
flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
script, *arguments = words[[word.startswith("--") for word in words].index(False) :]
number = len(list(answers.glob("job-*"))) + 1
print(f"{{number}};cluster")
before = flags["dependency"].removeprefix("afterok:")
ended = before == "singleton" or (answers / f"job-{{before}}").read_text() == "0"
copy = shutil.copy(script, answers / "slurm_script")
last = int(flags["array"].removeprefix("0-")) if "array" in flags else 0
lost = (answers / "lost").exists() and (answers / "lost").read_text() == flags["comment"]
running = []
for shard in range(last + 1) if ended else ():
    if not (lost and shard == 1):
        environment = os.environ | ({{"SLURM_ARRAY_TASK_ID": str(shard)}} if "array" in flags else {{}})
        with open(flags["output"].replace("%a", str(shard)), "a") as log:
            places = dict(cwd=flags["chdir"], env=environment, stdout=log, stderr=log)
            running.append(subprocess.Popen(["bash", copy, *arguments], **places))
statuses = [job.wait() for job in running]
(answers / f"job-{{number}}").write_text("0" if ended and not lost and not any(statuses) else "1")
"""


def test_slurm_corpus(place, tmp_path):
    """The jobs are run for real: a lost node stops what depends on it; sent again they make the corpus of a plain build."""
    asked = write_sources(tmp_path / "sources")
    plain = build.build(asked, tmp_path / "plain", jobs=1, progress=False)
    record = asked.record()
    for language in record["languages"].values():
        language["sources"][0]["path"] = os.path.relpath(language["sources"][0]["path"], tmp_path)
    write_json(tmp_path / "my manifest.json", record)
    (place.project / "babel_jax").symlink_to(ROOT / "babel_jax")
    (place.project / ".venv" / "bin").mkdir(parents=True)
    (place.project / ".venv" / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (place.project / ".venv" / "bin" / "python").chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", place.project / ".venv" / "installed.txt")
    (place.home / "fakes" / "sbatch").write_text(SBATCH.format(python=sys.executable))
    script = place.project / "launch" / "slurm_corpus.sh"
    command = ["bash", "-c", 'cd "$1"; exec bash "$2" "my manifest.json" out/ 2', "bash", tmp_path, script]
    (tmp_path / "answers" / "lost").write_text("clean")
    assert place.sh(*map(str, command), timeout=300).returncode == 0
    jobs = sorted((tmp_path / "answers").glob("job-*"), key=lambda job: int(job.name[4:]))
    assert [job.read_text() for job in jobs] == ["0", *"1" * (len(PHASES) + 1)] and not (tmp_path / "out").exists()
    (tmp_path / "answers" / "lost").unlink()
    done = place.sh(*map(str, command), timeout=300)
    logs = {log.name: log.read_text() for log in (place.project / "runs" / "slurm").iterdir()}
    assert done.returncode == 0 and (tmp_path / "out").exists(), (done, logs)
    built, expected = contents(tmp_path / "out"), contents(plain.directory)
    assert {file: built.get(file) for file in expected} == expected
    assert set(built) - set(expected) == {"funnel.svg", "funnel.png"}  # the command draws them
    assert {f"corpus-out-{name}.log" for name in ("start", "tokens-0", "tokens-1", "finish")} < set(logs)


# Debian's archive: $ANSWERS/index says PACKAGE FILE BYTES SHA256, $ANSWERS/pool holds what files there are.
APT_GET = r"""#!/usr/bin/env bash
package=${*: -1} status=100
case "$*" in *update)
  lists=$(sed -n 's/^Dir::State::Lists "\(.*\)";/\1/p' "$APT_CONFIG")
  case "$*" in *Languages*) cp "$ANSWERS"/lists/* "$lists" ;; esac
  [ ! -e "$ANSWERS/offline" ]; exit ;;
esac
while read -r name file bytes sum; do
  [ "$name" = "$package" ] || continue
  status=0
  case "$*" in
    *--print-uris*) echo "'http://debian/pool/$file' $file $bytes SHA256:$sum" ;;
    *) cp "$ANSWERS/pool/$file" . 2>/dev/null || { echo "E: Failed to fetch $file  404  Not Found" >&2; exit 100; } ;;
  esac
done < "$ANSWERS/index"
[ $status = 0 ] || echo "E: Unable to locate package $package" >&2
exit $status
"""


class Archive:
    """Packages of a single file each, and the table that pins them."""

    def __init__(self, place, table):
        self.answers, self.table = place.home / "answers", place.project / "launch" / table
        (self.answers / "pool").mkdir()
        self.table.write_text("# made by hand\n")
        for name, does in (("apt-get", APT_GET), ("dpkg-deb", '#!/bin/sh\ntar -xf "$2" -C "$3"\n')):
            (place.home / "fakes" / name).write_text(does)
            (place.home / "fakes" / name).chmod(0o755)

    def add(self, chosen, language, package, licence="MIT", pin=None, indexed=True, there=True, sum=None):
        name = package.removeprefix("src:")
        file = f"{name}_1.orig.tar.gz" if name != package else f"{name}_1%3a1_all.deb"
        (self.answers / "content").write_text(name)
        with tarfile.open(self.answers / "pool" / file, "w:gz") as archive:
            archive.add(self.answers / "content", f"{name}/code")
        content = (self.answers / "pool" / file).read_bytes()
        sum = sum or hashlib.sha256(content).hexdigest()
        if not there:
            (self.answers / "pool" / file).unlink()
        if indexed:
            with (self.answers / "index").open("a") as index:
                index.write(f"{name} {file} {len(content)} {sum}\n")
        with self.table.open("a") as table:
            table.write("\t".join([chosen, language, package, licence, str(len(content)), pin or sum, file]) + "\n")


@pytest.fixture
def archive(place):
    return Archive(place, "debian_packages.tsv")


@pytest.fixture
def natural(place):
    return Archive(place, "natural_packages.tsv")


def test_fetch(place, archive, tmp_path):
    """What is pinned is fetched whole; what is not, is missing or is damaged is not, is reported, and does not stop the rest."""
    archive.add("minimal", "python", "libgood", "PSF-2.0")
    archive.add("minimal", "php", "src:source")
    archive.add("minimal", "php", "src:changed", pin="0" * 64)
    archive.add("minimal", "php", "gone", there=False)
    archive.add("minimal", "php", "unlisted", indexed=False)
    archive.add("minimal", "php", "damaged", sum="1" * 64)
    archive.add("full", "php", "copyleft", "GPL-2.0-or-later")
    archive.add("minimal", "go", "other")
    command, settings = ("fetch_debian_corpus.sh", tmp_path / "my out"), dict(KEYRING=archive.table)
    done = place.launch(*map(str, command), **settings)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        "missing: php/gone php/unlisted php/damaged",
        "of another version than in debian_packages.tsv (--accept-new takes them): php/changed",
    ]
    out = command[1]
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "packages.tsv", "python/libgood/libgood/code", "php/source/source/code",
    }  # fmt: skip
    lines = [line.split("\t") for line in (out / "packages.tsv").read_text().splitlines()]
    rows = {row[2]: row for row in (line.split("\t") for line in archive.table.read_text().splitlines()[1:])}
    assert lines == [
        ["language", "package", "licence", "sha256", "file"],
        ["python", "libgood", "PSF-2.0", *rows["libgood"][5:]],
        ["php", "source", "MIT", *rows["src:source"][5:]],
    ]
    (out / "php" / "source" / "mine").write_text("")
    with (out / "packages.tsv").open("a") as list_of_packages:
        list_of_packages.write("php\tchanged\tMIT\told\told\n")  # written, and then the machine went down
    done = place.launch("fetch_debian_corpus.sh", "--full", "--accept-new", str(out), "php", **settings)
    assert done.returncode == 1 and done.stdout.endswith("missing: php/gone php/unlisted php/damaged\n")
    assert "php: source is there\n" in done.stdout and "php: copyleft fetched (GPL-2.0-or-later)\n" in done.stdout
    assert {path.name for path in (out / "php").iterdir()} == {"source", "changed", "copyleft"}
    assert (out / "php" / "source" / "mine").exists()
    lines = [line.split("\t")[1] for line in (out / "packages.tsv").read_text().splitlines()]
    assert lines == ["package", "libgood", "source", "changed", "copyleft"]
    (archive.answers / "offline").write_text("")
    done = place.launch("fetch_debian_corpus.sh", str(out), "go", **settings)
    assert done.returncode == 2 and "Debian's index could not be fetched" in done.stderr
    assert not list(out.glob(".*"))


def test_fetch_with_all_well(place, archive, tmp_path):
    archive.add("minimal", "python", "libgood")
    archive.add("minimal", "php", "src:source")
    for expected in ("fetched (MIT)", "is there"):
        done = place.launch("fetch_debian_corpus.sh", str(tmp_path / "out"), KEYRING=archive.table)
        assert done.returncode == 0, done.stderr
        assert [line for line in done.stdout.splitlines() if line.endswith(expected)] == [
            f"python: libgood {expected}",
            f"php: source {expected}",
        ]


def test_fetch_pins(place, archive):
    """--pin prints the table with the sums of today, and says which packages Debian has no more."""
    archive.add("minimal", "python", "libgood")
    archive.add("full", "php", "src:changed", "GPL-2.0-only", pin="0" * 64)
    before = archive.table.read_text()
    archive.add("full", "php", "unlisted", indexed=False)
    done = place.launch("fetch_debian_corpus.sh", "--pin", KEYRING=archive.table)
    assert "Debian has no package unlisted" in done.stderr
    sum = (archive.answers / "index").read_text().split()[-1]
    assert done.stdout == before.replace("0" * 64, sum)


def test_fetch_dry_run(place, tmp_path):
    """Sizes and licences need neither apt nor the network."""
    command = ["--dry-run", str(tmp_path / "out"), "php", "go"]
    minimal, full = (
        place.launch("fetch_debian_corpus.sh", *flags, *command, paths=place.home / "tools").stdout.splitlines()
        for flags in ([], ["--full"])
    )
    assert minimal[0].split() == ["php", "src:symfony", "5.1", "MB", "MIT"]
    assert minimal[-1] == f"24 MB to fetch to {tmp_path}/out; copyleft: none"
    assert full[0] == minimal[0] and len(full) > len(minimal)
    assert ["php", "mediawiki", "36.8", "MB", "GPL-2.0-or-later"] in [line.split() for line in full]
    assert "mediawiki" in full[-1].split() and not (tmp_path / "out").exists()


def test_table_of_debian_packages():
    """The minimal set is permissive, in all languages; every package says its licence and is pinned."""
    rows = [line.split("\t") for line in (ROOT / "launch" / "debian_packages.tsv").read_text().splitlines()]
    rows = [row for row in rows if not row[0].startswith("#")]
    assert {row[1] for row in rows if row[0] == "minimal"} == {
        name for name, language in LANGUAGES.items() if language.kind == "code"
    }
    assert all(permitted(row[3], PERMISSIVE) for row in rows if row[0] == "minimal")
    assert any("GPL" in row[3] for row in rows if row[0] == "full")
    assert {row[0] for row in rows} == {"minimal", "full"}
    assert len({(row[1], row[2], row[6]) for row in rows}) == len(rows)
    for _, _, package, licence, size, sum, file in rows:
        assert licence and int(size) > 10_000 and re.fullmatch("[0-9a-f]{64}", sum), package
        assert (".orig" in file) == package.startswith("src:") and file.endswith((".deb", ".gz", ".xz", ".bz2"))


def test_fetch_natural(place, natural, tmp_path):
    """A folder a language, and others for what is of several, for dictionaries of what is asked for, and for facts."""
    natural.add("strict", "de", "help-de")
    natural.add("strict", "en,de", "handbook")
    natural.add("strict", "fr", "help-fr")
    natural.add("strict", "fr,ja", "french-and-japanese")
    natural.add("strict", "de,en", "trans-de-en")
    natural.add("strict", "de,fr", "dict-freedict-deu-fra")
    natural.add("strict", "en", "wordnet-base")
    natural.add("strict", "en,de,fr", "kgeography-data")
    natural.add("all", "de", "game-de", "GPL-2.0-or-later")
    (natural.answers / "lists").mkdir()
    (natural.answers / "lists" / "deb_i18n_Translation-de").write_text("Package: x\n")
    (natural.answers / "lists" / "deb_i18n_Translation-zh%5fCN").write_text("Package: y\n")
    command, settings = ["fetch_natural_corpus.sh", str(tmp_path / "out"), "de", "en"], dict(KEYRING=natural.table)
    done = place.launch(*command, **settings)
    assert done.returncode == 0, done.stderr
    out, code = tmp_path / "out", lambda name: f"{name}/{name.split('/')[1]}/code"
    first = [
        "de/help-de",
        "several/handbook",
        "dictionaries/trans-de-en",
        "dictionaries/wordnet-base",
        "facts/kgeography-data",
    ]
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "packages.tsv",
        *map(code, first),
    }
    (out / "de" / "help-de" / "mine").write_text("")
    done = place.launch(command[0], "--all", *command[1:], **settings)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "missing: en/package-descriptions"
    assert "de: help-de is there" in done.stdout and (out / "de" / "help-de" / "mine").exists()
    assert (out / "de" / "package-descriptions" / "Translation-de").read_text() == "Package: x\n"
    natural.add("all", "zh", "chinese")
    done = place.launch(command[0], "--all", command[1], "zh", **settings)
    assert (
        done.returncode == 0 and (out / "zh" / "package-descriptions" / "Translation-zh").read_text() == "Package: y\n"
    )
    shutil.rmtree(out / "zh")
    (out / "packages.tsv").write_text(
        "".join(line for line in (out / "packages.tsv").open() if not line.startswith("zh"))
    )
    assert (out / code("de/game-de")).exists() and not list(out.glob(".*"))
    lines = [line.split("\t") for line in (out / "packages.tsv").read_text().splitlines()]
    assert lines[0] == ["folder", "package", "licence", "sha256", "file"]
    assert {"/".join(line[:2]) for line in lines[1:]} == {*first, "de/game-de", "de/package-descriptions"}


def test_fetch_natural_keeps_no_images(place, natural, tmp_path):
    natural.add("strict", "de", "help-de")
    with tarfile.open(natural.answers / "pool" / "help-de_1%3a1_all.deb", "w:gz") as archive:
        for name in ("a/page.html", "a/picture.PNG", "images/only.jpeg", "a/book.pdf", "a/png"):
            archive.add(natural.answers / "index", name)
    done = place.launch("fetch_natural_corpus.sh", str(tmp_path), "de", KEYRING=natural.table)
    assert done.returncode == 1  # the sum of before
    content = (natural.answers / "pool" / "help-de_1%3a1_all.deb").read_bytes()
    (natural.answers / "index").write_text(f"help-de help-de_1%3a1_all.deb 1 {hashlib.sha256(content).hexdigest()}\n")
    done = place.launch("fetch_natural_corpus.sh", "--accept-new", str(tmp_path), "de", KEYRING=natural.table)
    assert done.returncode == 0, done.stderr
    assert sorted(str(path.relative_to(tmp_path / "de" / "help-de")) for path in (tmp_path / "de" / "help-de").rglob("*")) == [
        "a", "a/page.html", "a/png",
    ]  # fmt: skip


def test_fetch_natural_dry_run(place, tmp_path):
    strict, everything = (
        place.launch(
            "fetch_natural_corpus.sh",
            *flags,
            "--dry-run",
            str(tmp_path / "out"),
            "en",
            "ru",
            paths=place.home / "tools",
        ).stdout
        for flags in ([], ["--all"])
    )
    assert "several      debian-handbook" in strict and "dictionaries dict-freedict-eng-rus" in strict
    assert "help-de" not in strict and "wesnoth" not in strict and "descriptions" not in strict
    assert "several      wesnoth-1.16-data" in everything and "descriptions of Debian's packages" in everything
    assert strict.splitlines()[-1].endswith(f"MB to fetch to {tmp_path}/out") and not (tmp_path / "out").exists()


def test_table_of_natural_packages():
    """Strict: every language has text of its own, and no licence is unclear; all are read by the manifest or are word lists."""
    rows = [line.split("\t") for line in (ROOT / "launch" / "natural_packages.tsv").read_text().splitlines()]
    rows = [row for row in rows if not row[0].startswith("#")]
    seven = {"en", "de", "fr", "es", "ru", "zh", "ja"}
    assert {row[1] for row in rows if row[0] == "strict" and "," not in row[1]} == seven
    assert {row[0] for row in rows} == {"strict", "all"} and len({row[2] for row in rows}) == len(rows)
    for _, languages, package, licence, size, sum, file in rows:
        assert set(languages.split(",")) <= seven and licence not in ("", "?") and "unclear" not in licence, package
        assert int(size) > 10_000 and re.fullmatch("[0-9a-f]{64}", sum) and file.endswith(".deb"), package


@pytest.mark.parametrize(("command", "message"), [
    (["fetch_natural_corpus.sh", "--dry-run", "out"], "say where and what: "),
    (["fetch_natural_corpus.sh", "--full", "out", "de"], "unknown flag '--full'; known: --all"),
    (["fetch_natural_corpus.sh", "out", "it"], "unknown language 'it'; known: en de fr es ru zh ja"),
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
    (["slurm.sh", "run", "a", "train"], "the command to run stands after --"),
    (["slurm.sh", "run"], "give a verb and a name"),
    (["slurm_corpus.sh", "requirements.txt", "out"], "the number of shards: slurm_corpus.sh MANIFEST OUT SHARDS"),
    (["slurm_corpus.sh", "requirements.txt", "out", "0"], "the number of shards is '0'"),
    (["slurm_corpus.sh", "missing.py:php", "out", "2"], "there is no manifest missing.py:php"),
    (["slurm_corpus.sh", "requirements.txt", "out", "2", "--array=0-1"], "--array is set here"),
    (["slurm_corpus.sh", "requirements.txt", "out", "2", "clean"], "cannot read 'clean'"),
    (["fetch_debian_corpus.sh", "--dry-run"], "say where: "),
    (["fetch_debian_corpus.sh", "--all", "out"], "unknown flag '--all'"),
    (["fetch_debian_corpus.sh", "out", "cobol"], "'cobol'; known: python php csharp go cpp javascript typescript java c rust"),
])  # fmt: skip
def test_mistakes_are_one_line(place, command, message):
    done = place.launch(*command)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert place.calls() == []


@pytest.mark.parametrize(("script", "tool"), [("tpu_pod.sh", "gcloud"), ("gke.sh", "kubectl"), ("slurm.sh", "sbatch"),
                                              ("slurm_corpus.sh", "sbatch")])  # fmt: skip
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
