import pytest
from helpers import ROOT

from babel_jax.cli.settings import load_config
from babel_jax.common.errors import UserError

TINY = f"{ROOT}/configs/organism.py:tiny"


def test_a_setting_cannot_make_a_section_a_value_or_a_value_a_section():
    for setting in (
        "common=3",
        "world=None",
        "common.optimizer=adamw",
        "seeds.a=1",
        "=1",
        "..=1",
        "seeds={[]:1}",
        "a\x00=1",
    ):
        with pytest.raises(UserError):
            load_config(TINY, [f"--config.{setting}"])
    with pytest.raises(UserError, match="common must be a table"):
        load_config(TINY, ["--config.common=3", "--config.common.steps=4"])
    assert load_config(TINY, ["--config.world.shared_words.php=8"]).world.shared_words.to_dict() == {"php": 8}
