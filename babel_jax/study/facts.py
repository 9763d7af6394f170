"""What study.json says of a study: its languages, its seeds, the original corpus, and the runs that it has."""

import dataclasses

from babel_jax.common import files, run_names
from babel_jax.common.errors import UserError
from babel_jax.common.limits import SEEDS
from babel_jax.common.run_names import RunName
from babel_jax.languages import registry

AGAIN = "run the study again, which writes it anew from what stands there"
STUDY = {  # of study.json
    "kind": str,
    "primary": str,
    "new": [str],
    "seeds": [SEEDS],
    "original": {str: float},
    "original_share": float,
    "runs": [{"run": str, "seed": SEEDS, "flops?": float}],
    "config": {"candidates?": [str], "definitions?": {str: dict}},
    "wall_seconds?": {str: float},
    "versions?": {str: str},
}


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """A run of a study, with the operations to train it; None: not counted."""

    name: RunName
    seed: int
    flops: float | None = None


@dataclasses.dataclass(frozen=True)
class StudyFacts:
    """What study.json says of a study.

    Attributes:
      kind: one of `plan.KINDS`.
      primary, new, seeds: its languages and seeds.
      original: {language: tokens} of the original corpus; original_share: of the new languages in it.
      runs: planned ones.
      candidates: names of the from-scratch mixes that were wanted.
      wall_seconds, versions: seconds by phase; versions of libraries.
    """

    kind: str
    primary: str
    new: list[str]
    seeds: list[int]
    original: dict[str, float]
    original_share: float
    runs: list[StudyRun]
    candidates: list[str] = dataclasses.field(default_factory=list)
    wall_seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def original_mix(self) -> str:
        """The name of the from-scratch mix that has the original corpus's shares."""
        return run_names.mix_of_share(self.original_share).mix

    def run_name(self, role: str, language: str) -> str:
        """The name of a role's run in one new language."""
        return str(RunName(role, language if len(self.new) > 1 else ""))


def of(content: dict) -> StudyFacts:
    """`content`: of study.json."""
    runs = [
        StudyRun(run_names.parse(run["run"], content["new"]), run["seed"], run.get("flops") or None)
        for run in content["runs"]
    ]
    names = ("kind", "primary", "new", "seeds", "original", "original_share")
    return StudyFacts(
        **{name: content[name] for name in names},
        runs=runs,
        candidates=list(content["config"].get("candidates", ())),
        wall_seconds=content.get("wall_seconds", {}),
        versions=content.get("versions", {}),
    )


def read(study_dir) -> StudyFacts:
    """What a study's directory says of it.

    Raises:
      UserError: no study there, or one of an earlier version, or damaged.
    """
    study_dir = files.path(study_dir)
    if not (study_dir / "study.json").exists():
        raise UserError(f"{study_dir} is not a study: it has no study.json; run `study` first.")
    content = files.read_json(study_dir / "study.json", dict, AGAIN)
    if not {"original", "original_share"} <= content.keys() or isinstance(content.get("new"), str):
        raise UserError(f"{study_dir}/study.json is of an earlier version; run the study again with this one.")
    content = files.read_json(study_dir / "study.json", STUDY, AGAIN)
    if wrong := _contradiction(content):
        raise UserError(f"{study_dir}/study.json is damaged: {wrong}; {AGAIN}.")
    for name, data in content["config"].get("definitions", {}).items():
        registry.remember(registry.record(name, data, f"{study_dir}/study.json"))
    return of(content)


def _contradiction(content: dict) -> str | None:
    """What in a study.json of the right shape no study can have."""
    for name in ("new", "seeds"):
        if not content[name] or len(set(content[name])) < len(content[name]):
            return f"{name} is empty, or names something twice"
    languages, original = [content["primary"], *content["new"]], content["original"]
    if original.keys() != set(languages) or len(set(languages)) < len(languages):
        return "primary, new and original do not name the same languages"
    if min(original.values()) <= 0 or not 0 <= content["original_share"] <= 1:
        return "original or original_share is not an amount of tokens"
    return None
