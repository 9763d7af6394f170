"""Writes babel_jax/model/families/verified.json, how far our decoder is from transformers, family by family, and the page of it.

From the arrays in tests/golden/families/, over all cases of a family; tests/whole/test_golden_families.py holds them to the
tolerance. Run in tests/: python -m golden.verify_families
"""

import numpy as np
from golden.family_cases import CASES
from golden.make_families import WRITTEN
from helpers.family_oracle import ABSOLUTE, RELATIVE, Compared, compared, of_tolerance, stored, written

from babel_jax.common import files
from babel_jax.model import families
from babel_jax.model.families import families_page

RECORD = files.path(families.__path__[0]) / "verified.json"


def deviation(ours, theirs) -> dict:
    """The largest one: as it is, as a part of the largest number there, and as a multiple of what is allowed."""
    absolute = float(np.abs(ours - theirs).max())
    return {
        "absolute": absolute,
        "relative": absolute / float(np.abs(theirs).max()),
        "of_tolerance": of_tolerance(ours, theirs),
    }


def deviations(case: Compared) -> dict:
    """What stands in the record of one case's family, if it is the only one."""
    golden, (sure_BxW, ways) = case.golden, written(case)
    off_LxFxK = np.abs(np.asarray(case.taps["active_LxFxK"], np.int64) - golden["active_LxFxK"])
    return {
        "logits": deviation(case.rows("logits_BxTxV", case.logits_BxTxV), golden["logits_BxTxV"]),
        "residual": deviation(case.rows("state_JxBxTxD", case.state_JxBxTxD), golden["state_JxBxTxD"]),
        "counts": off_LxFxK.size,
        "counts_differing": int((off_LxFxK > 0).sum()),
        "gates_near_zero": int(golden["near_zero_LxFxK"].sum()),
        "tokens": int(sure_BxW.sum()) * len(ways),
        "tokens_differing": sum(int((ours_BxW != golden["written_BxW"])[sure_BxW].sum()) for ours_BxW in ways),
    }


def merged(found: list[dict]) -> dict:
    """Of several cases: the largest deviations, and the sums of what is counted."""
    if isinstance(found[0], dict):
        return {name: merged([case[name] for case in found]) for name in found[0]}
    return sum(found) if isinstance(found[0], int) else float(f"{max(found):.2g}")


def main():
    by_family, versions = {}, set()
    for name, case in CASES.items():
        ours = compared(stored, name)
        by_family.setdefault(case.family, {})[name] = deviations(ours)
        versions.add(ours.config_5["transformers_version"])
    record = {
        "transformers": ", ".join(sorted(versions)),
        "dtype": "float32",
        "tolerance": {"absolute": ABSOLUTE, "relative": RELATIVE},
        "tokens_written": WRITTEN,
        "families": {
            family: {"cases": sorted(cases)} | merged(list(cases.values())) for family, cases in by_family.items()
        },
    }
    files.write_json(RECORD, record)
    families_page.write()
    print(RECORD.read_text())


if __name__ == "__main__":
    main()
