import numpy as np
import pytest

from babel_jax.common.errors import UserError
from babel_jax.optimum import ado

PRIOR = {"python": 11, "php": 23}
LAWS = {"python": (0.5, 4.0, 0.4), "php": (1.0, 60.0, 0.8)}  # own, scale, exponent


def law(name, n):
    own, scale, exponent = LAWS[name]
    return own + scale * np.asarray(n, float) ** -exponent


def planted(steps, weights=None):
    """A history that follows LAWS, drawn by the prior or by the weights of each choice."""
    weights = weights or [{"python": 11 / 34, "php": 23 / 34}] * len(steps)
    return [
        ado.Choice(step, {name: float(law(name, step)) for name in LAWS}, weight)
        for step, weight in zip(steps, weights, strict=True)
    ]


@pytest.mark.parametrize("own, scale, exponent", [(0.5, 4.0, 0.4), (0.0, 2.0, 0.1), (2.0, 30.0, 1.5)])
def test_a_planted_law_is_found(own, scale, exponent):
    n = np.arange(1, 11) * 40.0
    fitted = ado.fit(n, own + scale * n**-exponent)
    assert vars(fitted) == pytest.approx({"own": own, "scale": scale, "exponent": exponent}, rel=1e-3, abs=1e-3)
    speed = exponent * scale * 400**-exponent / 400
    assert fitted.learning_speed(400.0) == pytest.approx(speed, rel=1e-3)
    noisy = own + scale * n**-exponent + 0.01 * np.random.default_rng(0).normal(size=10)
    step = (ado.fit(n, noisy).learning_speed(400.0) - speed) / speed
    assert abs(step) < 0.5


def test_a_loss_that_does_not_fall_teaches_nothing():
    n = np.arange(1, 6) * 40.0
    assert ado.fit(n, n / 100).learning_speed(200.0) == 0
    assert ado.fit(n, np.full(5, 2.0)).learning_speed(200.0) == pytest.approx(0, abs=1e-9)


def test_the_next_weights_are_those_of_the_paper():
    """Written out once more, step by step as the paper's recursions go, for four choices at 40, 80, 160 and 200 steps."""
    weights = [{"python": 0.5, "php": 0.5}, {"python": 0.2, "php": 0.8}, {"python": 0.6, "php": 0.4}]
    weights.append({"python": 0.3, "php": 0.7})
    prior = np.array([11, 23]) / 34
    recent, mean, preference, step = None, np.zeros(2), prior, 0
    for choice, (weight, steps) in enumerate(zip(weights, (40, 40, 80, 40), strict=True)):
        weight = np.array([weight["python"], weight["php"]])
        recent = weight if recent is None else recent
        for _ in range(steps):
            step += 1
            recent = 0.9 * recent + 0.1 * weight
            mean = (1 - 1 / step) * mean + preference / step
        if choice >= 2:  # three losses of each language: there is a law
            speed = np.array([alpha * (law(name, step) - own) / step for name, (own, _, alpha) in LAWS.items()])
            preference = prior * recent**0.5 * speed
            preference = preference / preference.sum()
    wanted = 0.1 * preference + 0.9 * mean
    found = ado.next_weights(planted([40, 80, 160, 200], weights), PRIOR)
    assert list(found) == ["python", "php"] and list(found.values()) == pytest.approx(wanted, abs=2e-4)
    assert abs(wanted[0] - mean[0]) > 0.01 and abs(mean[0] - prior[0]) > 0.03  # both move


def test_the_prior_stands_until_there_is_a_law():
    assert ado.next_weights(planted([40, 80]), PRIOR) == {"python": 0.3235, "php": 0.6765}
    flat = [ado.Choice(step, {"python": 1.0, "php": 2.0}, {"python": 1}) for step in (40, 80, 120)]
    assert ado.next_weights(flat, PRIOR) == {"python": 0.3235, "php": 0.6765}, "nothing is learnt"


def test_no_source_is_given_up_and_one_without_a_prior_is_not_taken_up():
    done = [
        ado.Choice(step, {"python": 2.0 / step, "php": 1.0, "go": 1.0}, {"python": 1.0}) for step in (40, 80, 120, 160)
    ]
    weights = ado.next_weights(done, PRIOR | {"go": 0.0})  # the prior for 120 steps, then Python alone but for LEAST
    mean = 0.75 * 23 / 34 + 0.25 * 0.01
    assert weights == pytest.approx({"python": 0.999 - 0.9 * mean, "php": 0.001 + 0.9 * mean, "go": 0.0}, abs=1e-4)
    np.testing.assert_allclose(
        ado.at_least([0.005, 0.009, 0.011, 0.975], 0.01), [0.01, 0.01, 0.010933, 0.969067], rtol=1e-4
    )
    np.testing.assert_allclose(ado.at_least([0.0, 0.0101, 1.0], 0.01), [0.01, 0.01, 0.98], rtol=1e-4)


def test_a_run_of_choices_turns_to_what_is_still_learnt():
    """Python's loss is at its end after a few steps, PHP's falls on: PHP's weight grows, choice after choice."""

    def losses_of(step):
        return {"python": 0.5 + 2.0 * step**-2.0, "php": 1.0 + 5.0 * step**-0.3}

    stages, prior = [{"tokens": 0, "weights": {"python": 0.7, "php": 0.3}}], {"python": 0.7, "php": 0.3}
    for step in range(40, 800, 40):
        choose = ado.chooser(prior, lambda params, step=step: losses_of(step))
        answer = choose(step, {}, stages)
        assert answer["losses"] == losses_of(step) and sum(answer["weights"].values()) == pytest.approx(1, abs=2e-4)
        stages.append({"tokens": 0, "step": step} | answer)
    share = [stage["weights"]["php"] for stage in stages]
    assert share[:3] == [0.3] * 3 and all(b > a for a, b in zip(share[3:], share[4:], strict=False)) and share[-1] > 0.4


def test_a_loss_that_is_no_number_is_an_error_of_one_line():
    broken = planted([40, 80, 120])
    broken[1].losses["php"] = float("nan")
    with pytest.raises(UserError, match="held-out loss of php at step 80 is not a number") as error:
        ado.next_weights(broken, PRIOR)
    assert "\n" not in str(error.value)
