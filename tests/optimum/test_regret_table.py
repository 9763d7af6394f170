import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.optimum import regret_table
from babel_jax.optimum.regret_table import Row


def rows(**regrets) -> dict[str, Row]:
    return {name: Row(name, 8, 40, regret, regret - 0.01, regret + 0.01) for name, regret in regrets.items()}


STORED = rows(algorithm1_loss=0.12, peak_tokens=0.02, algorithm1_knowledge_share=0.05, unimax=0.01)


def test_the_stored_table_is_read_and_may_be_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(regret_table, "FILE", tmp_path / "regret.csv")
    assert regret_table.stored() == {}
    header = "optimiser,cells,seeds,regret,low,high,behind,p_holm\n"
    regret_table.FILE.write_text(header)
    assert regret_table.stored() == {}
    regret_table.FILE.write_text(f"{header}peak_tokens,8,40,0.0213,0.001,0.04,,\nunimax,1,5,0.3,,,0.28,1\n")
    found = regret_table.stored()
    assert found["peak_tokens"] == Row("peak_tokens", 8, 40, 0.0213, 0.001, 0.04) and np.isnan(found["unimax"].low)
    assert str(found["peak_tokens"]) == "mean regret 2.1 points [0.1, 4.0] over 8 cells, 40 seeds"
    assert str(found["unimax"]) == "mean regret 30.0 points over 1 cell, 5 seeds"
    regret_table.FILE.write_text("optimiser,cells\n")
    with pytest.raises(UserError, match="lacks the column seeds, regret"):
        regret_table.stored()


@pytest.mark.parametrize(
    "available, stored, chosen, why",
    [
        (("loss", "peak_tokens"), STORED, "peak_tokens", "the least mean regret of those tested: "),
        (
            ("loss", "knowledge_share"),
            STORED,
            "knowledge_share",
            "but for peak_tokens, which this input does not allow",
        ),
        (("loss", "peak_tokens"), {}, "loss", "is the paper's: no regrets are stored"),
        (("peak_tokens",), {}, "peak_tokens", "takes the place of the paper's, loss, which is not there"),
        (("calibrated", "loss"), rows(peak_tokens=0.1), "loss", "know none of the sources here"),
    ],
)
def test_the_default_is_the_source_of_least_regret_that_the_input_allows(available, stored, chosen, why):
    source, sentence = regret_table.choose(available, stored)
    assert source == chosen and why in sentence and sentence.endswith(".")


def test_a_source_that_few_cells_tested_is_not_the_first():
    few = STORED | {"algorithm1_calibrated": Row("algorithm1_calibrated", 2, 10, 0.001, 0.0, 0.1)}
    assert regret_table.ranked(few) == ["peak_tokens", "knowledge_share", "loss", "calibrated"], "no rival, no new name"
