"""Adaptive Data Optimization: weights that are chosen while a run trains, by how fast each language's loss falls.

Jiang et al., "Adaptive Data Optimization: Dynamic Sample Selection with Scaling Laws" (arXiv 2410.11820, Section 3 and
Algorithm 1), written from the paper; its symbols stand in brackets. For each source k:
  1. a scaling law L_k(n) = own + scale n^-exponent [eps, beta, alpha] is fitted to its losses so far, n what the run has
     seen of all sources together;
  2. its learning speed is -dL_k/dn = exponent (L_k(n) - own) / n;
  3. what of it is credited to the source's own rows [lambda_k] is h_k^CREDIT, with h_k a moving average of its weights;
  4. it is preferred [rho_k] in proportion to prior [mu_k] x credit x learning speed, by LEAST at least;
  5. its weight [pi_k] is PREFERENCE x preference + (1 - PREFERENCE) x its mean preference so far, the prior while there
     was no law.

Where ours differs: the losses are held-out losses, measured where weights are chosen (theirs are the training losses of
every step), so a law is fitted to few but clean points, by least squares (theirs by a Huber loss of logarithms); and
weights stay from one choice to the next (theirs follow n at every step). The averages of 3 and 5 are over steps, as theirs.
"""

import dataclasses

import numpy as np
from scipy.optimize import nnls

from babel_jax.common.errors import UserError

MEMORY = 0.1  # of the moving average h, per step [gamma_1]
PREFERENCE = 0.1  # what a choice may move of the weights [gamma_2]
CREDIT = 0.5  # [s]
LEAST = 0.01  # preference for a source [delta_min]
WARM_UP = 3  # losses of each source before there is a law: three numbers cannot be fitted to fewer
EXPONENTS = np.linspace(0.05, 2.0, 40)
DIGITS = 4  # of a weight: another machine's last bits shall not make another run


@dataclasses.dataclass(frozen=True)
class Choice:
    """Where weights were chosen.

    Attributes:
      step: at which.
      losses: {source: nats per token} there.
      weights: {source: weight} of the rows from the choice before to this one.
    """

    step: int
    losses: dict[str, float]
    weights: dict[str, float]


@dataclasses.dataclass(frozen=True)
class Law:
    """loss(n) = own + scale n^-exponent."""

    own: float
    scale: float
    exponent: float

    def learning_speed(self, n: float) -> float:
        """-dL/dn: nats per token that a further unit of n takes off the loss."""
        return float(self.exponent * self.scale * n ** (-self.exponent - 1))


def chooser(prior: dict[str, float], losses_of):
    """What an `OnlineSampler` (training/sampler.py) chooses by.

    Args:
      prior: {source: weight}, such as the original corpus's tokens.
      losses_of: `params -> {source: held-out loss in nats per token}`.
    """

    def choose(step: int, params: dict, stages: list[dict]) -> dict:
        losses = {name: float(loss) for name, loss in losses_of(params).items()}
        return {"weights": next_weights(history(stages, step, losses), prior), "losses": losses}

    return choose


def history(stages: list[dict], step: int, losses: dict[str, float]) -> list[Choice]:
    """A run's stages so far (see training/sampler.py), and the losses where its next one begins, as choices."""
    ends = [*stages[1:], {"step": step, "losses": losses}]
    return [Choice(end["step"], end["losses"], stage["weights"]) for stage, end in zip(stages, ends, strict=True)]


def next_weights(history: list[Choice], prior: dict[str, float]) -> dict[str, float]:
    """The weights of the rows to come; the prior until each source has `WARM_UP` losses.

    Args:
      history: in order.
      prior: {source: weight}; a source of weight 0 stays at 0.
    Raises:
      UserError: a loss is not a number.
    """
    names = [name for name, weight in prior.items() if weight > 0]
    prior_K = _shares([prior[name] for name in names])
    step_C = np.array([choice.step for choice in history], float)
    loss_CxK = np.array([[choice.losses[name] for name in names] for choice in history])
    weight_CxK = np.array([_shares([choice.weights.get(name, 0.0) for name in names]) for choice in history])
    if not np.isfinite(loss_CxK).all():
        at, k = np.argwhere(~np.isfinite(loss_CxK))[0]
        raise UserError(
            f"the held-out loss of {names[k]} at step {step_C[at]:.0f} is not a number, so no weights follow from it; lower the "
            "learning rate in a new workdir."
        )
    preference_CxK = np.stack(
        [_preference(prior_K, step_C[: c + 1], loss_CxK[: c + 1], weight_CxK[: c + 1]) for c in range(len(history))]
    )
    before_CxK = np.concatenate([prior_K[None], preference_CxK[:-1]])  # from the choice before to this one
    mean_K = np.diff(step_C, prepend=0) @ before_CxK / step_C[-1]
    weight_K = PREFERENCE * preference_CxK[-1] + (1 - PREFERENCE) * mean_K
    return dict.fromkeys(prior, 0.0) | dict(zip(names, np.round(weight_K, DIGITS).tolist(), strict=True))


def fit(n_C, loss_C) -> Law:
    """The law of least squared error; none of its numbers is below 0.

    For each of `EXPONENTS` the best `own` and `scale` follow from linear least squares. A loss that does not fall has scale 0.
    """
    n_C, loss_C = np.asarray(n_C, float), np.asarray(loss_C, float)
    laws = [(float(np.linalg.norm(loss_C - loss_C.mean())), Law(loss_C.mean(), 0.0, 1.0))]
    for exponent in EXPONENTS:
        (own, scale), error = nnls(np.stack([np.ones_like(n_C), (n_C / n_C[-1]) ** -exponent], axis=1), loss_C)
        laws.append((error, Law(own, scale * n_C[-1] ** exponent, exponent)))
    return min(laws, key=lambda pair: round(pair[0], 12))[1]  # the first of equals: without a fall


def recent(step_C, weight_CxK) -> np.ndarray:
    """The moving average of the weights, h(t) = h(t-1) + MEMORY (w(t) - h(t-1)), after the last step; h(0) = w(1)."""
    mean_K = weight_CxK[0]
    for steps, weight_K in zip(np.diff(step_C, prepend=0), weight_CxK, strict=True):
        mean_K = weight_K + (1 - MEMORY) ** steps * (mean_K - weight_K)
    return mean_K


def at_least(weight_K, least: float) -> np.ndarray:
    """Weights that sum to 1, none below `least`: who is below is raised to it, the others give it up in proportion."""
    weight_K = _shares(weight_K)
    low_K = np.zeros(len(weight_K), bool)
    while (weight_K < least - 1e-12).any():
        low_K |= weight_K < least
        rest = 1 - least * low_K.sum()
        weight_K = np.where(low_K, least, weight_K * rest / weight_K[~low_K].sum())
    return weight_K


def _preference(prior_K, step_C, loss_CxK, weight_CxK) -> np.ndarray:
    """What is preferred after the choices so far: the prior until there is a law, and where nothing is learnt any more."""
    if len(step_C) < WARM_UP:
        return prior_K
    speed_K = np.array([fit(step_C, loss_C).learning_speed(step_C[-1]) for loss_C in loss_CxK.T])
    wanted_K = prior_K * recent(step_C, weight_CxK) ** CREDIT * speed_K
    return at_least(wanted_K, LEAST) if wanted_K.sum() > 0 else prior_K


def _shares(weight_K) -> np.ndarray:
    weight_K = np.asarray(weight_K, float)
    return weight_K / weight_K.sum()
