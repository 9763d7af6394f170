"""The figures of a study in the order of the page, its chapters, and its words on method.

Figures are deterministic: same findings, same bytes.
"""

from babel_jax.report import (
    accuracy_figures,
    curve_figures,
    mechanism_figures,
    mix_figures,
    regret_figure,
    share_figures,
    task_figures,
)

FIGURES = (
    accuracy_figures.STORY,
    mix_figures.BETTER,
    accuracy_figures.STAGES,
    accuracy_figures.PERFORMANCE,
    accuracy_figures.LANGUAGES,
    task_figures.TASK_STORY,
    mechanism_figures.WORKING_LANGUAGE,
    mechanism_figures.CONCEPT_SHARE,
    mechanism_figures.NEURONS,
    mechanism_figures.DRIFT,
    mechanism_figures.CAUSES,
    mechanism_figures.PATCHES,
    share_figures.LOSSES,
    share_figures.CALIBRATION,
    share_figures.TOKENS,
    mix_figures.OPTIMUM,
    curve_figures.FORETOLD,
    mix_figures.ORIGINAL_OPTIMISED,
    mix_figures.RIVALS,
    task_figures.TASK_MIXES,
    mix_figures.PREDICTED,
    mix_figures.SCHEDULE,
    regret_figure.REGRET,
)
BY_NAME = {figure.name: figure for figure in FIGURES}
CHAPTERS = (
    (
        "tower",
        "The tower",
        "What happens inside while the new language is learned: each figure of the paper, with ours.",
    ),
    (
        "corpus",
        "The better corpus",
        "From what was seen in continual pre-training to the mix that a model should be trained on.",
    ),
)
METHOD = (
    "Stages. Accuracies are pooled over seeds and smoothed; the maximum is the peak, the mean of the last quarter "
    "of the checkpoints the end level. A transition is seen if the peak lies before that quarter and both the rise"
    " to it and the decline from it are large enough, with a 95 % interval above zero: Student t over seeds, or over the "
    "problems of one seed. The peak is chosen on the other seeds (on the other fifths of the problems), so that a maximum picked "
    "from noise is no decline. Where a curve does not surely rise by 5 points, a best checkpoint is best by chance: what "
    "is read there, P* among it, is not determined, and claims that start from it are not tested.",
    "Mixes. All start from random parameters, with equal total steps and tokens unless they are named otherwise. Differences are "
    "paired over seeds; the best of several mixes is chosen on the other seeds, so that noise does not choose the winner it then "
    "measures (but where a schedule is compared with the best, which the sentence says).",
    "One seed says nothing about others: its intervals speak of problems alone, and the text says so.",
)
