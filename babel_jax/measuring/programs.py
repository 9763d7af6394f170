"""Problems that a model solves by writing a program: what it writes, what of it is right, and what a change of neurons does.

Letters as in `model/decoder.py`; Q problems, W identifiers of a problem, A tokens of an answer, N identifiers of all answers.
"""

import dataclasses

import numpy as np

from babel_jax.common import statistics
from babel_jax.common.errors import UserError
from babel_jax.common.material import Problems
from babel_jax.measuring.greedy import generate
from babel_jax.model.decoder import DecoderConfig
from babel_jax.model.taps import Edit
from babel_jax.probes.causes import Change, change_rows, specificity_rows, subsets, trials
from babel_jax.probes.interventions import checked_tokens, score_rows
from babel_jax.probes.subject import Subject


def completions(subject: Subject, problems: Problems, language: str, change: Edit | None = None) -> np.ndarray:
    """Greedy completions of all problems in one language, [Q, A], under a change of neurons if there is one."""
    return generate(subject, problems.prompt_QxT[language], problems.length_Q, problems.new_tokens, edit=change)


def accuracy(subject: Subject, problems: Problems, language: str) -> float:
    """Share of the problems whose greedy program is right."""
    return float(problems.judge(language, completions(subject, problems, language)).mean())


def accuracy_row(solved_Q: np.ndarray, **columns) -> dict:
    """The share of true values with its Wilson interval."""
    hits, n = int(solved_Q.sum()), len(solved_Q)
    low, high = (float(bound) for bound in statistics.wilson(hits / n, n))
    return dict(value=hits / n, n=n, ci_low=low, ci_high=high) | columns


def program_rows(subject: Subject, problems: Problems, language: str) -> list[dict]:
    """Solved problems and accuracies by subset, and the accuracy of single words that need the primary's knowledge."""
    written_QxA = completions(subject, problems, language)
    solved_Q = problems.judge(language, written_QxA)
    rows = []
    for subset, chosen_Q in (("shared", ~problems.transfer_Q), ("transfer", problems.transfer_Q)):
        if not chosen_Q.any():
            continue  # the new language's corpus covers all that the problems need
        options = {"subset": subset}
        for item in np.flatnonzero(chosen_Q):
            rows.append(dict(metric="solved", item=int(item), value=float(solved_Q[item]), options=options))
        rows.append(accuracy_row(solved_Q[chosen_Q], metric="accuracy", options=options))
    rows.append(accuracy_row(solved_Q, metric="accuracy", options={"subset": "all"}))
    if problems.transfer_Q.any():
        right_QxW = np.take_along_axis(written_QxA == problems.answer_QxA[language], problems.word_slot_QxW, axis=1)
        right_N = right_QxW[problems.transfer_word_QxW]
        rows.append(accuracy_row(right_N, metric="word_accuracy", options={"subset": "transfer"}))
    return [dict(probe="evaluation", language=language) | row for row in rows]


def subset_of(problems: Problems, kept_Q: np.ndarray) -> Problems:
    """The problems that are kept, as problems of their own."""

    def judge(language: str, completion_QxA: np.ndarray) -> np.ndarray:
        all_QxA = np.zeros((len(kept_Q), completion_QxA.shape[1]), completion_QxA.dtype)
        all_QxA[kept_Q] = completion_QxA
        return problems.judge(language, all_QxA)[kept_Q]

    def kept(value):
        return {name: rows[kept_Q] for name, rows in value.items()} if isinstance(value, dict) else value[kept_Q]

    fields = ("prompt_QxT", "length_Q", "answer_QxA", "transfer_Q", "word_slot_QxW", "transfer_word_QxW")
    return dataclasses.replace(problems, judge=judge, **{name: kept(getattr(problems, name)) for name in fields})


# --- causes ---------------------------------------------------------------------------------------------------------------


def pass_change_rows(subject: Subject, problems: Problems, language: str, sets: dict, change: Change) -> list[dict]:
    """How sets of neurons change which problems are solved (greedy, one program a problem), by subset of the problems.

    Metrics: "pass_change", with the problems `gained` and `lost` and McNemar's exact `p_mcnemar` in the options;
    "pass_specificity": the change on transfer problems minus that on shared ones. Intervals resample problems.
    `sets`: name -> mask [L, F], each beside its random sets (see `causes.py`).
    """
    if change.kind == "resample":
        raise UserError("'resample' has no source while a program is written; choose another intervention.")
    tried = trials(subject, sets, change)
    solved = [problems.judge(language, completions(subject, problems, language, edit)) for edit in tried.edits]
    before, scored = tried.by_set([{"pass": np.asarray(solved_Q, np.float64)} for solved_Q in solved])
    asked, clusters = {"pass": subsets(problems.transfer_Q)}, _by_problem(problems, np.arange(len(problems.length_Q)))
    rows = []
    for name, results in scored.items():
        changed = change_rows(before, results, asked, clusters, tried.about[name])
        for row, kept_Q in zip(changed, asked["pass"].values(), strict=True):
            was_Q, is_Q = before["pass"][kept_Q], results[0]["pass"][kept_Q]
            gained, lost = int((is_Q > was_Q).sum()), int((is_Q < was_Q).sum())
            row["options"] |= {"gained": gained, "lost": lost, "p_mcnemar": statistics.mcnemar(gained, lost)}
        rows += changed + specificity_rows(before, results, asked, clusters, tried.about[name])
    return [row | {"language": language} for row in rows]


def answer_change_rows(subject: Subject, problems: Problems, language: str, sets: dict, change: Change) -> list[dict]:
    """How sets of neurons change what the model would write at the identifiers of the right programs: where all or none are
    solved, margins still move.

    Metrics (see `interventions.slot_scores`): "margin_change" and "accuracy_change"; "margin_specificity" and
    "accuracy_specificity": the change at identifiers that need the primary's knowledge minus that at others. Intervals
    resample problems.
    """
    subject = dataclasses.replace(subject, document_end=-1)
    tried = trials(subject, sets, change)
    inputs, problem_N, transfer_N = answer_rows(subject.model, problems, language)
    before, scored = tried.by_set(score_rows(subject, inputs, tried.edits))
    asked, clusters = dict.fromkeys(("margin", "accuracy"), subsets(transfer_N)), _by_problem(problems, problem_N)
    rows = []
    for name, results in scored.items():
        at_answers = (before, results, asked, clusters, tried.about[name] | {"at": "answers"})
        rows += change_rows(*at_answers) + specificity_rows(*at_answers)
    return [row | {"language": language} for row in rows]


def _by_problem(problems: Problems, problem_N) -> tuple:
    """Clusters that are resampled: problems."""
    return problem_N, statistics.shard_weights(len(problems.length_Q))


def answer_rows(config: DecoderConfig, problems: Problems, language: str):
    """A row for each identifier of each right program: `(rows of the slot pass, its problem [N], is it transfer [N])`."""
    answer_QxA, length_Q = np.asarray(problems.answer_QxA[language]), np.asarray(problems.length_Q)
    Q, W = problems.word_slot_QxW.shape
    tokens_QxT = _continued(problems.prompt_QxT[language], length_Q, answer_QxA)[:, :-1]
    right_QxW = np.take_along_axis(answer_QxA, problems.word_slot_QxW, axis=1)
    ids_Nx1 = right_QxW.reshape(-1, 1).astype(np.int32)
    rows = {
        "tokens": checked_tokens(config, np.repeat(tokens_QxT, W, axis=0)),
        "position": (length_Q[:, None] - 1 + problems.word_slot_QxW).reshape(-1).astype(np.int32),
        "right": ids_Nx1,
        "primary": ids_Nx1,
        "new": ids_Nx1,
    }
    return rows, np.repeat(np.arange(Q), W), problems.transfer_word_QxW.reshape(-1)


def _continued(prompts_NxT, length_N, written_NxA) -> np.ndarray:
    """Prompts with what was written after them, [N, longest prompt + A], filled up with zeros."""
    prompts_NxT, length_N, A = np.asarray(prompts_NxT), np.asarray(length_N), written_NxA.shape[1]
    longest = int(length_N.max())
    tokens_NxS = np.zeros((len(prompts_NxT), longest + A), np.int32)
    tokens_NxS[:, :longest] = np.where(np.arange(longest) < length_N[:, None], prompts_NxT[:, :longest], 0)
    np.put_along_axis(tokens_NxS, length_N[:, None] + np.arange(A), written_NxA, axis=1)
    return tokens_NxS
