"""What a study proposed, written down before the mixes that test it are trained: `predictions/NAME.json` of its directory.

A prediction holds the digest of its mixture file and of the study's config, and the time. It is written once: what stands is
never replaced, for runs may have been trained on it. `read` refuses one whose mixture file was changed since.
"""

import dataclasses
import datetime
import hashlib
from collections.abc import Sequence

from babel_jax.common import files, run_names
from babel_jax.common.errors import UserError

MEND = "put back a copy of it; a prediction that was written after its test is none"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """That a mix was proposed before it was trained.

    Attributes:
      name: of the mix, among the mixes.
      sha256: of its mixture file, `mixtures/NAME.json`; config_sha256: of the study's `config.json`.
      written: when, in UTC: 2026-11-30T15:09:20Z.
    """

    name: str
    sha256: str
    config_sha256: str
    written: str


def write(study_dir, names: Sequence[str]) -> None:
    """Writes the prediction of each mix whose mixture file stands in the study's directory, where it is not written yet.

    A mix that a run was begun on, as in a study of an earlier version, has none: that would not be a prediction.
    """
    study_dir = files.path(study_dir)
    config_sha256 = _digest(study_dir / "config.json")
    for name in names:
        file = study_dir / "predictions" / f"{name}.json"
        begun = any(study_dir.glob(f"seed*/{run_names.mix(name)}/config.json"))
        if not file.exists() and not begun:
            written = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            prediction = Prediction(name, _digest(_mixture_file(study_dir, name)), config_sha256, written)
            files.write_json(file, dataclasses.asdict(prediction))


def read(study_dir) -> dict[str, Prediction]:
    """{name of a mix: its prediction} of a study; {} where it has written none.

    Raises:
      UserError: a prediction is damaged, or its mixture file is not the one that was predicted.
    """
    study_dir, found = files.path(study_dir), {}
    for file in sorted((study_dir / "predictions").glob("*.json")):
        prediction = files.read_record(file, Prediction, MEND)
        mixture_file = _mixture_file(study_dir, prediction.name)
        if not mixture_file.exists() or _digest(mixture_file) != prediction.sha256:
            raise UserError(f"{mixture_file} is not the one that {file} predicted; put back a copy of it.")
        found[prediction.name] = prediction
    return found


def _mixture_file(study_dir, name: str):
    return study_dir / "mixtures" / f"{name}.json"


def _digest(place) -> str:
    return hashlib.sha256(files.read_bytes(place)).hexdigest()
