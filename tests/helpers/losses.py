"""Tables of losses and scores of continual runs with a planted share of the primary."""

import numpy as np
import pandas as pd

COLUMNS = ("language", "seed", "step", "tokens", "loss", "score", "n")
STEPS = np.array([0, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512])
PEAK = 6
PAPER = {"php": 11 / 16, "csharp": 11 / 21}  # P* that gives 5B and 10B tokens beside 11B of Python
ORIGINAL = "python=11e9,php=23e9,csharp=16e9,go=11e9"


def continual_runs(language: str, p_star: float, seeds: int = 3, problems: int = 400, generator=None) -> pd.DataFrame:
    """Rows of continual runs with the peak at step 48, where the loss is `p_star` of its way to the asymptote 1."""
    generator = generator or np.random.default_rng(0)
    place, tokens = np.arange(len(STEPS)), STEPS * 1000
    fall = np.where(place <= PEAK, 0, 1 - np.exp(-(place - PEAK) / 2))
    score_C = np.where(place <= PEAK, 0.05 + 0.9 * np.sqrt(place / PEAK), 0.95 - 0.4 * fall)
    loss_C = 1 + 2 * (1 + tokens / tokens[PEAK] * (p_star ** (-1 / 1.5) - 1)) ** -1.5
    rows = []
    for seed in range(seeds):
        ability = generator.normal(0, 0.01)
        loss = loss_C + generator.normal(0, 0.004, len(STEPS)) + ability
        solved = generator.binomial(problems, np.clip(score_C + ability, 0, 1))
        share = 0.6 - 0.3 * fall + generator.normal(0, 0.02, len(STEPS))
        columns = zip(STEPS, tokens, loss, solved / problems, share, strict=True)
        rows += [(language, seed, *row[:4], problems, row[4]) for row in columns]
    return pd.DataFrame(rows, columns=[*COLUMNS, "knowledge_share"])


def planted() -> pd.DataFrame:
    """PHP and C# with the paper's shares."""
    return pd.concat([continual_runs(*language) for language in PAPER.items()], ignore_index=True)


def written(frame: pd.DataFrame, tmp_path):
    file = tmp_path / "losses.csv"
    frame.to_csv(file, index=False)
    return file
