"""Policies of `corpus mix`, a line each in `POLICIES`: how much each language of a corpus weighs in a mixture."""

from babel_jax.common.errors import UserError, unknown_name
from babel_jax.corpus import mixture


def by_temperature(tokens: dict[str, float], temperature: float) -> dict[str, float]:
    """Weights p_i ~ tokens_i^(1/T), which sum to 1: in proportion to the tokens at T = 1, equal as T grows."""
    most = max(tokens.values())  # a power of what is at most 1 does not overflow
    powers = {name: (count / most) ** (1 / temperature) for name, count in tokens.items()}
    return {name: power / sum(powers.values()) for name, power in powers.items()}


def capped(weights: dict[str, float], most: dict[str, float], budget: float) -> dict[str, float]:
    """Weights, which sum to 1, of a mixture of `budget` tokens in which no language gives more than `most` tokens.

    Who would give more is held there, and the others share what it gives up in proportion to their own weights. With
    equal weights, and `most` = N times each language's tokens, this is UniMax with N epochs (Chung et al. 2023, Algorithm
    1), but for a budget that cannot be met, which is an error here.

    Raises:
      UserError: all languages with a weight together may not give `budget` tokens.
    """
    amounts, free = {name: 0.0 for name in weights}, {name: weight for name, weight in weights.items() if weight > 0}
    if sum(most[name] for name in free) < budget:
        raise UserError(
            f"{budget:,.0f} tokens are more than {sum(most[name] for name in free):,.0f}, which is all that "
            f"{', '.join(free)} may give; lower --tokens, or raise --max_epochs."
        )
    left = budget
    while free:
        share = left / sum(free.values())
        over = [name for name, weight in free.items() if weight * share > most[name]]
        for name in over or list(free):
            amounts[name] = min(free.pop(name) * share, most[name])
            left -= amounts[name]
    return {name: amount / sum(amounts.values()) for name, amount in amounts.items()}


def _shares(available: dict[str, int], wishes) -> dict[str, float]:
    weights = {}
    for part in wishes.shares.split(","):
        name, _, weight = part.partition("=")
        if name not in available:
            raise unknown_name("language of the corpus", name, available)
        try:
            weights[name] = float(weight)
        except ValueError:
            raise UserError(f"--shares has '{part}'; write NAME=WEIGHT, such as python=2.") from None
    mixture.stages_from_config([{"tokens": 0, "weights": weights}], 1)
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _unimax(available: dict[str, int], wishes) -> dict[str, float]:
    if wishes.max_epochs <= 0:
        raise UserError("--policy=unimax needs --max_epochs: how often a language may be seen, such as 4.")
    return dict.fromkeys(available, 1 / len(available))


# Name -> (tokens of each language in the corpus, options of `corpus mix`) -> weights, which sum to 1.
POLICIES = {
    "tokens": lambda available, wishes: by_temperature(available, 1.0),
    "shares": _shares,
    "temperature": lambda available, wishes: by_temperature(available, wishes.temperature),
    "unimax": _unimax,
}


def weights(available: dict[str, int], wishes) -> dict[str, float]:
    """What a policy alone wants, before any cap.

    Args:
      available: tokens of each language in the corpus.
      wishes: the options of `corpus mix`: policy, shares, temperature, max_epochs.

    Raises:
      UserError: an option that the policy needs is missing, or one that it does not read was given.
    """
    if bool(wishes.shares) != (wishes.policy == "shares"):
        raise UserError("--shares goes with --policy=shares, and that needs it: --shares=python=2,php=1.")
    if (wishes.temperature is not None) != (wishes.policy == "temperature"):
        raise UserError("--temperature goes with --policy=temperature, and that needs one above 0, such as 2.")
    return POLICIES[wishes.policy](available, wishes)
