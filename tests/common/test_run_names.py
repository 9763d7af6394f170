"""A run's name is put together and taken apart in one place, and comes out as it went in."""

import pytest

from babel_jax.common import run_names
from babel_jax.common.run_names import RunName

SEVERAL = ("php", "csharp", "c", "go")
NAMES = {
    "primary_climb": RunName("primary_climb"),
    "continual": RunName("continual"),
    "continual_php": RunName("continual", "php"),
    "predictor": RunName("predictor"),
    "predictor_php": RunName("predictor", "php"),
    "predictor_primary": RunName("predictor_primary"),
    "new_only_c": RunName("new_only", "c"),
    "replay_0.2500": RunName("replay", share=0.25),
    "replay_0.2500_go": RunName("replay", "go", 0.25),
    "mix": RunName("mix"),
    "mix_0.3500": RunName("mix", share=0.35),
    "mix_1.0000": RunName("mix", share=1.0),
    "mix_ado": RunName("mix", candidate="ado"),
    "mix_swarm_03": RunName("mix", candidate="swarm_03"),
    "mix_algorithm1_loss_equal_epochs": RunName("mix", candidate="algorithm1_loss", equal_epochs=True),
    "multilingual_optimized": RunName("multilingual_optimized"),
    "gpt2-small": RunName("gpt2-small"),
    "mixed": RunName("mixed"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_apart_and_put_together_again(name):
    parsed = run_names.parse(name, SEVERAL)
    assert parsed == NAMES[name]
    assert str(parsed) == name


def test_with_one_new_language_no_name_says_one():
    assert run_names.parse("continual_php", ("php",)) == RunName("continual", candidate="php")
    assert str(run_names.parse("continual_php", ("php",))) == "continual_php"


def test_the_longest_language_that_fits_is_meant():
    languages = ("script", "java_script", "go")
    assert run_names.parse("continual_java_script", languages).language == "java_script"
    assert run_names.parse("continual_script", languages).language == "script"


def test_a_mix_belongs_to_no_language_even_if_its_name_ends_like_one():
    assert run_names.parse("mix_only_go", SEVERAL) == RunName("mix", candidate="only_go")


@pytest.mark.parametrize(
    "text", ["2.0000", "0.12345", "1.5", "x", "-0.5", "1e-1", "0.5\n", "\N{ARABIC-INDIC DIGIT ONE}"]
)
def test_what_is_no_share_of_four_digits_is_the_name_of_a_candidate(text):
    name = run_names.parse(f"mix_{text}")
    assert name.share is None and name.candidate == text and not name.is_share


def test_shares_are_named_by_four_digits():
    assert str(run_names.mix_of_share(0.676470588)) == "mix_0.6765"
    assert str(run_names.parse("mix_0.5")) == "mix_0.5000"


def test_what_a_mix_is_called_among_the_mixes():
    for name in ("0.3500", "ado", "swarm_11", "unimax_equal_epochs"):
        assert run_names.mix(name).mix == name
    assert run_names.swarm(3) == run_names.mix("swarm_03") and run_names.swarm(3).is_swarm
    assert run_names.mix("0.3500").is_share and not run_names.mix("ado").is_share
    assert not RunName("replay", share=0.25).is_share
    online = [name for name in ("ado", "ado_equal_epochs", "swarm_03", "0.5000") if run_names.mix(name).is_online]
    assert online == ["ado"]


def test_what_the_optimiser_asks_for():
    assert run_names.mix("algorithm1_loss_knowledge_equal_epochs").source == "loss_knowledge"
    optimised = ("algorithm1_calibrated", "schedule", "algorithm1_loss_equal_epochs")
    assert all(run_names.mix(name).is_optimised for name in optimised)
    for name in ("0.3500", "unimax", "shuffled", "swarm_00"):
        assert run_names.mix(name).source == "" and not run_names.mix(name).is_optimised
