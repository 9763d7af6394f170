"""A generative model of the embedded world's runs: what is true of all seeds is known, and the noise is that of its studies.

Drawn for every seed: how fast accuracy rises (its peak lies at steps 48 to 96), how high (.93 to .98), how fast it falls
and to what (.54 to .68), how fast the loss falls, how hard each problem is. Fitted by eye to runs of configs/organism.py
and configs/organism.py:full (their means, and the spread of their seeds at each checkpoint); nothing is trained.

Letters: S seeds, C checkpoints, Q problems, M mixes.
"""

import dataclasses
import functools

import numpy as np
from scipy import special

from babel_jax.common import statistics
from babel_jax.evolution import stages
from babel_jax.evolution.mixes import Mix
from babel_jax.evolution.observation import Observation
from babel_jax.optimum import share

STEPS = np.array([0, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768])
STEP_TOKENS = 704
PROBLEMS, COVERED = 400, 0.4  # the part of the problems that the new language's own words suffice for
PRIMARY, NEW = "python", "php"
# The step at which accuracy has risen by half, for two kinds of world: a peak that stands out at step 64, and steps 64 and 80
# as good as each other when smoothed, which is what configs/organism.py has.
HALF_RISEN = {"clear": 28.0, "tied": 31.5}
MANY = 20_000  # seeds, as good as all
# Accuracy in the new language by mix, once the primary is learned: "original" has much of the new language, the number is a
# percentage of it. `full` and `nearly` are of a world in which nothing is to be gained.
MIXES = {"original": 0.69, "m02": 0.955, "m05": 0.9, "m10": 0.885, "m25": 0.82, "full": 0.998, "nearly": 0.994}
SEED_EFFECT, MIX_EFFECT = 0.3, 0.25  # standard deviations of logits: of a seed in all mixes, of a seed in one


@dataclasses.dataclass(frozen=True)
class Seeds:
    """What is drawn for each seed of a continual run, noise of its problems aside.

    Attributes:
      covered_SxC, other_SxC: its chances to solve a problem within and beyond the new language's own words.
      loss_SxC: on all texts that there are.
    """

    covered_SxC: np.ndarray
    other_SxC: np.ndarray
    loss_SxC: np.ndarray

    @property
    def accuracy_SxC(self) -> np.ndarray:
        return COVERED * self.covered_SxC + (1 - COVERED) * self.other_SxC

    @property
    def knowledge_SxC(self) -> np.ndarray:
        """The knowledge share: which part of what is solved needs the primary."""
        return (1 - COVERED) * self.other_SxC / self.accuracy_SxC


def seeds_of(generator, seeds: int, half_rise: float) -> Seeds:
    """The curves of so many seeds; `half_rise`: the step at which accuracy has risen by half."""
    steps_C = STEPS.astype(float)

    def around(value, sd):  # log-normal
        return value * np.exp(generator.normal(0, sd, (seeds, 1)))

    def hill(half, slope):
        return steps_C**slope / (steps_C**slope + half**slope)

    half_rise, half_fall = around(half_rise, 0.14), around(163.0, 0.09)
    top = special.expit(generator.normal(3.6, 0.5, (seeds, 1)))
    kept = special.expit(generator.normal(-0.6, 0.3, (seeds, 1)))
    risen_SxC = 0.04 + 0.96 * hill(half_rise, 7.0)
    left_SxC = 1 - (1 - kept) * hill(half_fall, 3.2)
    syntax_SxC = around(3.5, 0.12) * np.exp(-((steps_C / around(18.4, 0.05)) ** 1.5))
    knowledge_SxC = around(0.42, 0.015) * np.exp(-((steps_C / around(180.0, 0.07)) ** 1.7))
    loss_SxC = around(0.004, 0.3) + syntax_SxC + knowledge_SxC
    return Seeds(risen_SxC, risen_SxC * top * left_SxC, loss_SxC)


def observed(generator, seeds: int, kind: str) -> Observation:
    """A study of so many seeds: answers to problems, losses with errors, the knowledge share of what was solved.

    `kind`: of world, in HALF_RISEN.
    """
    drawn = seeds_of(generator, seeds, HALF_RISEN[kind])
    beyond_Q = np.arange(PROBLEMS) >= COVERED * PROBLEMS
    solved = [
        _answers(generator, np.where(beyond_Q, other_C[:, None], covered_C[:, None]))
        for covered_C, other_C in zip(drawn.covered_SxC, drawn.other_SxC, strict=True)
    ]
    errors_SxC = 0.01 * drawn.loss_SxC
    score_SxC = statistics.accuracies(solved)
    beyond_SxC = np.array([solved_CxQ[:, beyond_Q].sum(1) for solved_CxQ in solved]) / PROBLEMS
    with np.errstate(invalid="ignore"):
        knowledge_SxC = beyond_SxC / score_SxC
    return Observation(
        language=NEW,
        steps=STEPS,
        tokens=STEPS * float(STEP_TOKENS),
        seeds=list(range(seeds)),
        solved=solved,
        score_SxC=score_SxC,
        losses={"loss": drawn.loss_SxC + errors_SxC * generator.normal(size=errors_SxC.shape)},
        loss_errors={"loss": errors_SxC},
        shares={"knowledge_share": knowledge_SxC},
    )


def _answers(generator, chance_xQ) -> np.ndarray:
    """0/1 answers with these chances; half of what makes a problem hard is its own under all conditions."""
    chance_xQ = np.broadcast_to(chance_xQ, (len(chance_xQ), PROBLEMS))
    hard_xQ = (generator.normal(size=PROBLEMS) + generator.normal(size=chance_xQ.shape)) / np.sqrt(2)
    return (hard_xQ < special.ndtri(chance_xQ)).astype(float)


@dataclasses.dataclass(frozen=True)
class Population:
    """What is true of all seeds, each number as its estimator defines it.

    Attributes:
      accuracy_C, loss_C, knowledge_C: means over all seeds.
      best: the index of the best checkpoint, which is that of the smoothed mean curve.
      share_C: Eq. 1 of the mean losses, and of the mean of the seeds' asymptotes.
    """

    accuracy_C: np.ndarray
    loss_C: np.ndarray
    knowledge_C: np.ndarray
    best: int
    share_C: np.ndarray


@functools.cache
def population(kind: str) -> Population:
    """The limit of many seeds, without noise of problems and texts; `kind`: of world, in HALF_RISEN."""
    drawn = seeds_of(np.random.default_rng(2**20), MANY, HALF_RISEN[kind])
    accuracy_C, loss_C = drawn.accuracy_SxC.mean(0), drawn.loss_SxC.mean(0)
    own = 0.004 * np.exp(0.3**2 / 2)
    return Population(
        accuracy_C,
        loss_C,
        drawn.knowledge_SxC.mean(0),
        int((stages.smoothing_CxC(len(STEPS)) @ accuracy_C).argmax()),
        share.primary_share(loss_C, loss_C[0], own)[0],
    )


def _mix_chances(generator, seeds: int) -> np.ndarray:
    """Each mix's accuracy in the new language in each seed, [M, S]; a seed has an effect on all of its mixes."""
    logit_M = special.logit(list(MIXES.values()))
    effect_S = generator.normal(0, SEED_EFFECT, seeds)
    return special.expit(logit_M[:, None] + effect_S + generator.normal(0, MIX_EFFECT, (len(logit_M), seeds)))


@functools.cache
def mean_of_mixes() -> dict[str, float]:
    """{mix: its mean accuracy over all seeds in the new language}."""
    return dict(zip(MIXES, _mix_chances(np.random.default_rng(2**20), MANY).mean(1).tolist(), strict=True))


def mixes(generator, seeds: int) -> list[Mix]:
    """From-scratch runs of so many seeds, paired: the mixes of a seed share its effect and its problems."""
    chance_MxS, found = _mix_chances(generator, seeds), []
    answers_SxMxQ = np.array([_answers(generator, chance_M[:, None]) for chance_M in chance_MxS.T])
    for name, answers_SxQ in zip(MIXES, answers_SxMxQ.transpose(1, 0, 2), strict=True):
        solved = {PRIMARY: [np.ones(PROBLEMS)] * seeds, NEW: list(answers_SxQ)}
        score = {language: np.mean(of_language, axis=1) for language, of_language in solved.items()}
        macro_S = np.mean(list(score.values()), axis=0)
        found.append(Mix(name, list(range(seeds)), score, macro_S, tokens=10**6, solved=solved))
    return found
