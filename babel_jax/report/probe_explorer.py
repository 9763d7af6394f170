"""The map of a probe's lens, to move through: its controls, what its script (.js) reads, and the same numbers as a table."""

import pandas as pd

from babel_jax.evolution.probe_findings import ProbeFindings
from babel_jax.report.plain import plain
from babel_jax.study import words

DIGITS = 3
BODY = """
<noscript><p>The map needs JavaScript; every figure of this page and its data can be seen without.</p></noscript>
<p>Rows are layers, columns are pairs of identifiers. Choose a cell; arrow keys move on.</p>
<div class="controls"><label for="run" id="run-label">Run<select id="run"></select></label>
<label for="prompts" id="prompts-label">Prompts in<select id="prompts"></select></label></div>
<div class="scrub" id="scrub"><label for="step">Checkpoint<input type="range" id="step" min="0" max="0" value="0" step="1">
<output for="step" id="step-shown"></output></label></div>
<div class="legend" id="map-legend"></div>
<div class="chart heat" id="map"></div>
<p class="reading" id="map-reading" role="status"></p>
"""


def data(findings: ProbeFindings) -> dict:
    """The maps of all branches as JSON can hold them, 3 digits."""
    titles = {name: words.language_name(name) for name in findings.languages}
    branches = {
        branch.name: {
            language: {"at": one.at_C, "pairs": one.pairs, "share": one.share_CxLxP, "covered": one.covered_CxLxP}
            for language in [*findings.new, findings.primary]
            if (one := branch.maps.get(language))
        }
        for branch in findings.branches
    }
    return plain(
        {
            "unit": "tokens" if findings.by_tokens else "step",
            "primary": titles[findings.primary],
            "others": words.names(findings.new),
            "titles": titles,
            "branches": {name: maps for name, maps in branches.items() if maps},
        },
        DIGITS,
    )


def table(findings: ProbeFindings) -> pd.DataFrame:
    """The same numbers, one row a cell."""
    rows = [
        (branch, language, at, layer + 1, pair["primary"], pair["new"], pair["prompts"], share, covered)
        for branch, maps in data(findings)["branches"].items()
        for language, one in maps.items()
        for c, at in enumerate(one["at"])
        for layer, shares in enumerate(one["share"][c])
        for pair, share, covered in zip(one["pairs"], shares, one["covered"][c][layer], strict=True)
    ]
    columns = ["run", "prompts_in", "at", "layer", "primary", "new", "prompts", "share", "covered"]
    return pd.DataFrame(rows, columns=columns)
