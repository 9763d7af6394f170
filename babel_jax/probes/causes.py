"""Scores of causes: how much a change of neurons matters, always against chance.

All functions write measurement rows (probe "intervention", without run, seed and step). A score of a set of
neurons is paired (the same rows, slots or problems before and after) and compared with the same score of at least `DRAWS`
random sets with as many neurons in each layer: `z`, `p` and `direction` in the row's options. Letters as in
`model/decoder.py`; R random sets, N rows or slots.
"""

import dataclasses
import warnings

import jax
import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.model.protocol import Model
from babel_jax.probes.edits import DRAWS, edit, random_sets
from babel_jax.probes.interventions import loss_inputs, score_rows, slot_inputs
from babel_jax.probes.subject import Subject

# ---- Statistics -------------------------------------------------------------------------------------------------------


def against_random(observed: float, random_R) -> dict:
    """How a score compares with those of random sets.

    Returns:
      `z`: distance from the random sets' mean in their standard deviations; None where they do not differ (JSON has no
        infinity); `p` and `direction` then say what there is to say;
      `p`: two-sided, (1 + number of random sets as far from the mean of all 1 + R scores as the observed one) / (1 + R);
      `p_higher`: one-sided, (1 + number of random sets as high or higher) / (1 + R);
      `direction`: "higher" or "lower" than the random sets' mean, or "equal"; `random_mean`, `random_sd`, `draws`.
      Where a score is undefined (NaN), so are `z` and both p: None.
    """
    random_R = np.asarray(random_R, np.float64)
    mean, sd, R = float(random_R.mean()), float(random_R.std(ddof=1)), len(random_R)
    if not np.isfinite([observed, mean]).all():
        return {"z": None, "p": None, "p_higher": None, "draws": R}
    # The centre treats all scores alike: without an effect each is as likely as any other to lie farthest from it.
    if np.ptp(random_R) <= 1e-12 * np.abs(random_R).max():  # equal but for what summing them rounds off
        random_R = np.full(R, random_R[0])
        mean, sd = float(random_R[0]), 0.0
    centre = (observed + random_R.sum()) / (1 + R)
    as_far = np.abs(random_R - centre) >= np.abs(observed - centre)
    return {
        "z": (observed - mean) / sd if sd > 0 else None,
        "p": (1 + int(as_far.sum())) / (1 + R),
        "p_higher": (1 + int((random_R >= observed).sum())) / (1 + R),
        "direction": "higher" if observed > mean else "lower" if observed < mean else "equal",
        "random_mean": mean,
        "random_sd": sd,
        "draws": R,
    }


def _drawn_means(values_N, cluster_N, weight_DxC):
    """The mean in each draw of clusters, [D]."""
    values_2xN = np.stack([values_N, np.ones(len(values_N))])
    sums_2xC = statistics.cluster_sums(values_2xN, cluster_N, weight_DxC.shape[1])
    return statistics.ratio(*(weight_DxC @ sums_2xC.T).T)


def subsets(transfer_N, kept_N=None) -> dict:
    """All, and where there are both, those that the new language's own corpus explains and those that need the primary's."""
    kept_N = np.ones(len(transfer_N), bool) if kept_N is None else kept_N
    if not kept_N.any():
        return {}
    parts = {"shared": kept_N & ~transfer_N, "transfer": kept_N & transfer_N}
    return {"all": kept_N} | (parts if all(part_N.any() for part_N in parts.values()) else {})


# ---- Scores of sets of neurons ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Change:
    """What is done to each set of neurons: a kind of `edits.edit` with its options; and to how many random sets."""

    kind: str = "zero"
    options: dict = dataclasses.field(default_factory=dict)
    draws: int = DRAWS


@dataclasses.dataclass(frozen=True, eq=False)
class Trials:
    """The edits of nothing, of every set and of its random sets, on the devices.

    Nothing is edited by the same executable: what has no effect then changes nothing at all, bit for bit.
    """

    edits: list
    about: dict[str, dict]  # set -> what describes its rows

    def by_set(self, scores: list) -> tuple:
        """What `edits` were scored: the score of nothing, and {set: [its score, those of its random sets …]}."""
        size = (len(scores) - 1) // len(self.about)
        return scores[0], {name: scores[1 + i * size : 1 + (i + 1) * size] for i, name in enumerate(self.about)}


def trials(subject: Subject, sets: dict, change: Change) -> Trials:
    """See `Trials`; `sets`: name -> mask [L, F].

    Raises:
      UserError: no set, one of another model, a change that belongs to one batch.
    """
    model, options = subject.model, change.options
    if change.kind == "resample" or "where_BxT" in options:
        raise UserError("a change with source_B or where_BxT belongs to one batch; make it by `edits.edit`.")
    _check_sets(model, sets)
    edits, about = [edit(change.kind, np.zeros((model.layers, model.ffn_width), bool), **options)], {}
    for name, neurons_LxF in sets.items():
        if not np.any(neurons_LxF):
            warnings.warn(f"the set of neurons '{name}' is empty: its scores are 0", stacklevel=3)
        edits.append(edit(change.kind, neurons_LxF, **options))
        edits += [edit(change.kind, random_LxF, **options) for random_LxF in random_sets(neurons_LxF, change.draws)]
        about[name] = {"kind": change.kind, "set": name, "size": int(np.sum(neurons_LxF))}
        about[name] |= {key: float(value) for key, value in options.items() if np.ndim(value) == 0}
    _, _, everywhere = subject.placed()
    return Trials(jax.device_put(edits, everywhere), about)


def _check_sets(model: Model, sets: dict) -> None:
    if not sets:
        raise UserError("there is no set of neurons to change; give at least one by name.")
    for name, neurons_LxF in sets.items():
        if np.shape(neurons_LxF) != (model.layers, model.ffn_width):
            raise UserError(
                f"'{name}' {np.shape(neurons_LxF)} is a neuron set of another model; this one has "
                f"{model.layers} layers of {model.ffn_width} neurons."
            )


def _row(metric: str, interval: tuple, n: int, options: dict) -> dict:
    value, low, high = map(float, interval)
    about = dict(probe="intervention", metric=metric)
    return about | dict(value=value, n=int(n), ci_low=low, ci_high=high, options=options)


def loss_change_rows(subject: Subject, heldout: dict, sets: dict, change: Change = Change()) -> list[dict]:
    """The matrix of changes in held-out loss, sets by languages, in nats a token: rows "loss_change" and "selectivity".

    Intervals are over rows of the paired differences, row by row. "selectivity", of a set that bears a language's name: the
    change in that language's loss minus the mean of the others'.

    Args:
      heldout: language -> `tokens` [N, T + 1], `loss` [N, T] (weight of each target).
      sets: name -> mask [L, F]; a language's own set has its name.
    """
    tried = trials(subject, sets, change)
    # language -> set -> [the changes [N] of it and of its random sets]; tokens; loss
    changes, counts, before = {}, {}, {}
    for language, values in heldout.items():
        inputs = loss_inputs(subject.model, values, subject.document_end)
        plain, scored = tried.by_set(score_rows(subject, inputs, tried.edits))
        counts[language] = plain["loss_count"]
        before[language] = plain["loss_sum"].sum() / plain["loss_count"].sum()
        changes[language] = {
            name: [result["loss_sum"] - plain["loss_sum"] for result in results] for name, results in scored.items()
        }
    rows = []
    for name, about in tried.about.items():
        of_set = {language: changes[language][name] for language in heldout}
        mean = {language: np.sum(of_set[language], axis=1) / counts[language].sum() for language in heldout}
        interval = {
            language: statistics.mean_with_interval(of_set[language][0], counts[language]) for language in heldout
        }
        for language in heldout:
            value = interval[language][0]
            options = about | against_random(value, mean[language][1:]) | {"before": before[language]}
            options |= {"after": before[language] + value, "perplexity_ratio": np.exp(value)}
            row = _row("loss_change", interval[language], counts[language].sum(), options)
            rows.append(row | {"language": language})
        if name in heldout and len(heldout) > 1:
            rows.append(_selectivity_row(name, mean, interval, counts[name].sum(), about))
    return rows


def _selectivity_row(own: str, mean: dict, interval: dict, n: int, about: dict) -> dict:
    """The change in a set's own language minus the mean of the others'; `mean`: language -> [1 + R], of random sets too."""
    others = [language for language in mean if language != own]
    selectivity_1R = mean[own] - np.mean([mean[language] for language in others], axis=0)
    half = {language: (high - low) / 2 for language, (_, low, high) in interval.items()}
    # Rows of different languages are drawn independently: variances add up.
    width = np.sqrt(half[own] ** 2 + sum(half[language] ** 2 for language in others) / len(others) ** 2)
    value = float(selectivity_1R[0])
    options = about | {"others": ",".join(others)} | against_random(value, selectivity_1R[1:])
    return _row("selectivity", (value, value - width, value + width), n, options) | {"language": own}


def slot_change_rows(
    subject: Subject, slots: dict, language: str, primary: str, sets: dict, change: Change = Change()
) -> list[dict]:
    """How sets of neurons change what the model writes at identifier slots, by subset of the slots.

    Metrics (see `interventions.slot_scores`): "logit_difference_change" over the slots whose identifiers differ,
    "margin_change", "accuracy_change". Intervals resample pairs, then prompts.

    Args:
      slots: prompts in `language`; `pair`, `prompt`, `subset` [N] where known.
    """
    rows = slot_inputs(subject.model, slots, "primary" if language == primary else "new")
    tried = trials(subject, sets, change)
    before, scored = tried.by_set(score_rows(subject, rows, tried.edits))
    numbers_N = np.arange(len(slots["position"]))  # slots that name no pair or prompt are each on their own
    clusters = statistics.two_level_weights(slots.get("pair", numbers_N), slots.get("prompt", numbers_N))
    transfer_N = np.asarray(slots.get("subset", 0 * numbers_N)) == 1
    of_all = subsets(transfer_N)
    asked = {"logit_difference": subsets(transfer_N, _differ(rows)), "margin": of_all, "accuracy": of_all}
    return [
        row | {"language": language}
        for name, results in scored.items()
        for row in change_rows(before, results, asked, clusters, tried.about[name] | {"at": "slots"})
    ]


def _differ(rows: dict) -> np.ndarray:
    """Slots at which the languages' identifiers are not the same tokens."""
    pairs = zip(rows["primary"].tolist(), rows["new"].tolist(), strict=True)
    return np.array([set(primary) - {-1} != set(new) - {-1} for primary, new in pairs])


def change_rows(before: dict, results: list[dict], asked: dict, clusters: tuple, about: dict) -> list[dict]:
    """Rows of the paired changes of some metrics in some subsets; without their language.

    Args:
      before, results: {metric: [N]} without a change; with the set's, then with those of its random sets.
      asked: metric -> subset -> mask [N]; clusters: (of each of N, weight_DxC of the draws).
      about: the rows' options.
    """
    cluster_N, weight_DxC = clusters
    rows = []
    for metric, parts in asked.items():
        change_RxN = np.stack([result[metric] for result in results]) - before[metric]
        for subset, kept_N in parts.items():
            value_R = change_RxN[:, kept_N].mean(axis=1)
            value = float(np.mean(change_RxN[0, kept_N]))
            drawn_D = _drawn_means(change_RxN[0, kept_N], cluster_N[kept_N], weight_DxC)
            low, high = statistics.interval(drawn_D[:, None])
            was = float(before[metric][kept_N].mean())
            options = (
                about | {"subset": subset, "before": was, "after": was + value} | against_random(value, value_R[1:])
            )
            rows.append(_row(f"{metric}_change", (value, low[0], high[0]), kept_N.sum(), options))
    return rows


def specificity_rows(before: dict, results: list[dict], asked: dict, clusters: tuple, about: dict) -> list[dict]:
    """Rows of the change on transfer problems minus that on shared ones, for metrics whose subsets have both.

    What makes the one kind more fragile than the other does so for the random sets, too: they say what is to be expected.
    """
    cluster_N, weight_DxC = clusters
    rows = []
    for metric, parts in asked.items():
        if "transfer" not in parts:
            continue
        change_RxN = np.stack([result[metric] for result in results]) - before[metric]
        value_R, drawn_D = 0.0, 0.0
        for subset, sign in (("transfer", 1), ("shared", -1)):
            kept_N = parts[subset]
            value_R = value_R + sign * change_RxN[:, kept_N].mean(axis=1)
            drawn_D = drawn_D + sign * _drawn_means(change_RxN[0, kept_N], cluster_N[kept_N], weight_DxC)
        low, high = statistics.interval(drawn_D[:, None])
        options = about | {"subset": "transfer - shared"} | against_random(float(value_R[0]), value_R[1:])
        n = (parts["transfer"] | parts["shared"]).sum()
        rows.append(_row(f"{metric}_specificity", (value_R[0], low[0], high[0]), n, options))
    return rows
