"""A build's tasks on the workers of Apache Beam, whatever runs its pipelines.

Beam is not among the requirements, whose versions cannot be resolved together with its own: `pip install
apache-beam==2.77.0` behind them takes older pyarrow, protobuf and pillow, with which a build works as well. The workers need
this project, and see the sources and the folder of the corpus under the same paths as this machine does (Flink, Spark or
Beam's own runners over a shared file system).
"""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

from babel_jax.common.errors import UserError, refusal
from babel_jax.common.files import read_json, write_json
from babel_jax.corpus import build as builds
from babel_jax.corpus.build_folder import shared_work
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.phases.order import PHASES


def build(
    manifest: Manifest, out: Path, *, benchmarks: Iterable[tuple[str, str]] = (), options: Sequence[str] = ()
) -> Corpus:
    """Builds a corpus as `corpus.build.build` does, a pipeline a phase; it is the same to the byte.

    Args:
      options: Beam's pipeline options, such as ["--runner=FlinkRunner", "--flink_master=host:8081"]; by default its local
        runner.

    Raises:
      UserError: Beam is not installed or refuses the options, or as `corpus.build.build`.
    """
    _apache_beam()  # before anything is done
    out = Path(out).absolute()
    work = builds.start(manifest, out, list(benchmarks))
    with shared_work(work):
        for phase in PHASES:
            run(work, phase, options)
        return builds.finish(work, out)


def run(work: Path, phase: str, options: Sequence[str] = ()) -> None:
    """Does all tasks of a phase in one pipeline, and returns when they are done.

    Raises:
      UserError: of a task (the first by name); the phase before is not complete; Beam is not installed.
    """
    beam = _apache_beam()
    from apache_beam.options.pipeline_options import PipelineOptions

    work = Path(work).absolute()
    tasks = builds.tasks(work, phase)
    if not tasks:
        return
    mistakes = work / f"{phase}.mistakes.json"
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        (
            pipeline
            | "tasks" >> beam.Create(tasks)
            | "to all workers" >> beam.Reshuffle()
            | phase >> beam.Map(functools.partial(_attempt, str(work), phase))
            | "failed" >> beam.Filter(bool)
            | "gathered" >> beam.combiners.ToList()
            | "written" >> beam.Map(functools.partial(write_json, str(mistakes)))
        )
    messages = read_json(mistakes)
    mistakes.unlink()
    if messages:
        raise UserError(min(messages)[1])


def _attempt(work, phase, task):
    """Does a task; what a user can mend is an outcome, [task, message], which Beam would only try again."""
    try:
        builds.run_task(Path(work), phase, task)
    except Exception as error:
        if (refused := refusal(error)) is None:
            raise
        return [task, str(refused)]
    return []


def _apache_beam():
    try:
        import apache_beam
    except ImportError as error:
        raise UserError(
            f"Apache Beam cannot be imported ({error}); install it with `pip install apache-beam==2.77.0` behind this project's "
            "requirements, or build without --beam."
        ) from error
    return apache_beam
