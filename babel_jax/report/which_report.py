"""Which report a folder is given: a study's, or a probe's."""

from babel_jax.common import files
from babel_jax.evolution import probe_findings
from babel_jax.report import folder, probe_folder
from babel_jax.report.folder import Report


def build(place) -> Report:
    """Writes report/ of a study, or of what `probe` has written, from its measurements; see either `build`.

    Raises:
      UserError: the folder is of neither kind, or cannot be read.
    """
    place = files.path(place)
    if not (place / "study.json").exists() and probe_findings.is_probe(place):
        return probe_folder.build(place)
    return folder.build(place)
