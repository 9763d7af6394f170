"""What a series would take, in numbers; the lines themselves are seen in test_series.py."""

import dataclasses

import pytest
from helpers import SMALL, small_material

from babel_jax.measuring import series_plan
from babel_jax.model import flops


def test_forward_passes_are_a_third_of_training_on_all_rows_and_prompts():
    material = small_material()
    config = dataclasses.replace(SMALL, vocab_size=material.vocab_size, max_length=4 * material.max_length)
    tokens = sum(rows["tokens"].size for texts in (material.heldout, material.slots) for rows in texts.values())
    shorter = dataclasses.replace(config, max_length=material.max_length)
    assert series_plan.forward_flops(config, material) == pytest.approx(tokens * flops.flops_per_token(shorter) / 3)


@pytest.mark.parametrize(
    "seconds, text", [(0.01, "1 s"), (60, "60 s"), (600, "10 min"), (9000, "2.5 h"), (9e5, "10 days")]
)
def test_times_are_written_as_one_reads_them(seconds, text):
    assert series_plan.duration(seconds) == text
