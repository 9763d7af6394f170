import dataclasses

import numpy as np
import pytest
from scipy import special

from babel_jax.common.errors import UserError
from babel_jax.optimum import calibration

SHARE = 1 / (1 + np.array([0, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 768]) / 40.0)
TRUTH = {
    "identity": SHARE,
    "affine": 0.3 + 0.5 * SHARE,
    "logit": special.expit(2 + 1.5 * special.logit(np.clip(SHARE, 0.01, 0.99))),
    "isotonic": np.where(SHARE > 0.5, 0.8, 0.2),
}


def noisy(link, seed, size=0.02):
    return TRUTH[link] + np.random.default_rng(seed).normal(0, size, SHARE.size)


@pytest.mark.parametrize("link", ("identity", "affine", "logit"))
def test_the_planted_link_is_chosen(link):
    chosen = [calibration.calibrate(SHARE, noisy(link, seed)).best for seed in range(20)]
    assert chosen.count(link) >= 16, chosen


def test_a_step_is_left_to_the_isotonic_link():
    fit = calibration.calibrate(SHARE, noisy("isotonic", 0))
    assert fit.best == "isotonic" and fit.reason.startswith("isotonic")
    np.testing.assert_allclose(fit.link.apply([0.9, 0.1]), [0.8, 0.2], atol=0.03)
    assert (np.diff(fit.link.apply(np.linspace(0, 1, 50))) >= 0).all()


def test_parameters_of_the_links_are_recovered():
    affine = calibration.calibrate(SHARE, TRUTH["affine"]).links["affine"]
    assert dataclasses.astuple(affine.parameters) == pytest.approx((0.3, 0.5))
    assert affine.r2 == pytest.approx(1) and affine.loo_error == pytest.approx(0, abs=1e-9)
    logit = calibration.calibrate(SHARE, TRUTH["logit"]).links["logit"]
    assert dataclasses.astuple(logit.parameters) == pytest.approx((2, 1.5), rel=1e-4)


def test_a_description_of_the_identity_is_that_of_the_raw_share():
    measured = noisy("affine", 1)
    found = calibration.calibrate(SHARE, measured).links["identity"]
    error = measured - SHARE
    assert found.slope == pytest.approx(np.polyfit(SHARE, measured, 1)[0])
    assert found.r2 == pytest.approx(1 - np.sum(error**2) / np.sum((measured - measured.mean()) ** 2))
    assert found.mean_error == pytest.approx(np.abs(error).mean())
    assert found.largest_error == pytest.approx(np.abs(error).max())
    assert found.loo_error == pytest.approx(np.sqrt(np.mean(error[1:-1] ** 2))), "the ends are given by construction"


def test_left_out_errors_are_those_of_fits_without_the_checkpoint():
    measured = noisy("affine", 2, size=0.1)
    found = calibration.calibrate(SHARE, measured).links["affine"]
    errors = []
    for c in range(1, SHARE.size - 1):
        line = np.polyfit(np.delete(SHARE, c), np.delete(measured, c), 1)
        errors.append(measured[c] - np.clip(np.polyval(line, SHARE[c]), 0, 1))
    assert found.loo_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert found.loo_error > np.sqrt(np.mean((measured - 0.3 - 0.5 * SHARE)[1:-1] ** 2))
    nearest = np.abs(SHARE[1:-1] - SHARE[7]).argsort()[: calibration.NEAR]
    near = np.sqrt(np.mean(np.square(errors)[nearest]))
    assert found.error_near(SHARE[7]) == pytest.approx(near), "how far it errs at one end says nothing about the other"
    assert np.isnan(calibration.calibrate(SHARE[:2], measured[:2]).link.error_near(0.5)), "nothing was left out"


def test_agreement_at_the_ends_is_no_evidence():
    measured = np.full(SHARE.size, 0.5) + np.random.default_rng(0).normal(0, 0.05, SHARE.size)
    measured[[0, -1]] = 1, 0
    fit = calibration.calibrate(np.where(np.arange(SHARE.size) == 0, 1.0, SHARE), measured)
    assert fit.links["identity"].loo_r2 < 0
    assert calibration.choose({"loss": {"working language": fit}}) is None


def test_checkpoints_without_a_measured_share_are_left_out():
    measured = TRUTH["affine"].copy()
    measured[:3] = np.nan
    fit = calibration.calibrate(SHARE, measured)
    assert fit.n == SHARE.size - 3 and fit.best == "affine"
    assert np.isnan(fit.link.apply(np.nan)), "NaN stays NaN"


def test_few_checkpoints_and_flat_shares_keep_the_identity():
    few = calibration.calibrate(SHARE[:4], TRUTH["affine"][:4])
    assert few.best == "identity" and list(few.links) == ["identity"] and "6 checkpoints" in few.reason
    flat = calibration.calibrate(np.full(10, 0.4), np.linspace(0, 1, 10))
    assert flat.best == "identity" and np.isnan(flat.links["identity"].slope)
    constant = calibration.calibrate(SHARE, np.full(SHARE.size, 0.5))
    assert np.isnan(constant.links["affine"].r2)


def test_links_keep_shapes_and_bounds():
    fit = calibration.calibrate(SHARE, noisy("affine", 3))
    share_2x2 = np.array([[0.0, 1.0], [0.5, 0.2]])
    np.testing.assert_array_equal(fit.links["identity"].apply(share_2x2), share_2x2)
    assert fit.links.keys() == calibration.LINKS.keys()
    for link in fit.links.values():
        mapped = link.apply(share_2x2)
        assert mapped.shape == (2, 2) and mapped.min() >= 0 and mapped.max() <= 1


def test_the_best_pair_of_source_and_measured_share():
    fits = {
        "loss": {"working language": calibration.calibrate(SHARE, noisy("affine", 4, 0.1))},
        "loss_knowledge": {"working language": calibration.calibrate(SHARE, noisy("affine", 6, 0.01))},
    }
    chosen = calibration.choose(fits)
    assert (chosen.source, chosen.measured, chosen.link) == ("loss_knowledge", "working language", "affine")
    assert chosen.loo_r2 > 0.9


def test_curves_that_do_not_belong_together_are_refused():
    with pytest.raises(UserError, match="same steps"):
        calibration.calibrate(SHARE, SHARE[1:])
    assert calibration.calibrate(SHARE, np.full(SHARE.size, np.nan)) is None, "nothing to compare"
