"""A finished study as a cell of the regrets: its sweep, and the mix that every optimiser asked for."""

from babel_jax.common import files
from babel_jax.optimum.cell_regrets import ORIGINAL, Cell
from babel_jax.study import analysis, candidates, predictions
from babel_jax.study.findings import Findings


def of_study(study_dir) -> Cell | str:
    """The study as a cell, or why it is none, as a clause.

    Raises:
      UserError: it is no study, or has no measurements.
    """
    findings, predicted = analysis.of_study(study_dir), predictions.read(study_dir)
    original = findings.original_name and findings.mix_named(findings.original_name)
    names = [name for name in findings.study.candidates if not name.endswith("_equal_epochs")]
    if not predicted and any(candidates.is_measured(name) for name in names):
        return "it has not proposed any corpus yet"
    planned = {run.name.mix for run in findings.study.runs if run.name.role == "mix" and run.name.mix} | set(predicted)
    if gone := sorted(name for name in planned if not _is_whole(findings, name)):
        return f"mix {gone[0]} is not trained and measured in all seeds yet"
    if original is None:
        return "the original mix was not trained"
    asked = {ORIGINAL: original} | {name: findings.mix_named(name) or original for name in names}
    return Cell(
        name=files.path(study_dir).name,
        sweep=[mix for mix in findings.mixes if mix.run_name.is_share],
        asked=asked,
        score=lambda mix: mix.score_S(findings.main_score),
        new_share=findings.new_share,
        law=next(iter(findings.curve_laws.values())) if len(findings.curve_laws) == 1 else None,
    )


def _is_whole(findings: Findings, name: str) -> bool:
    mix = findings.mix_named(name)
    return mix is not None and (mix.run_name.is_swarm or set(findings.study.seeds) <= set(mix.seeds))
