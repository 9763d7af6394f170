"""The funnel of a corpus: what each step of the cleaning left of each language, as a figure beside its table."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line
from babel_jax.report.drawing import FAINT, INK, NEW, NEW_LIGHT, STYLE, make_axes, png, svg
from babel_jax.study.words import language_name

COLUMNS = 3  # languages beside each other


def build(directory, title: Callable[[str], str] = language_name) -> list[Path]:
    """Draws `directory`/funnel.csv as funnel.svg and funnel.png beside it; returns their paths.

    funnel.csv: language, step, documents_in, bytes_in, documents_out, bytes_out; a row a step, in order.
    `title`: how a language is written.
    """
    file, names = Path(directory, "funnel.csv"), ("documents_in", "bytes_in", "documents_out", "bytes_out")
    try:
        table = pd.read_csv(file)[["language", "step", *names]].astype(dict.fromkeys(names, float) | {"language": str})
        if not len(table):
            raise ValueError("it has no rows")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot read {file} ({one_line(error)}); copy the corpus again, or build it again.") from error
    with matplotlib.rc_context(STYLE):
        figure = draw(table, title)
        paths = [Path(directory, "funnel.svg"), Path(directory, "funnel.png")]
        for path, content in zip(paths, (svg(figure, "funnel"), png(figure)), strict=True):
            files.write_atomic(path, content)
    return paths


def draw(table: pd.DataFrame, title: Callable[[str], str] = language_name):
    """A panel a language: from top to bottom what was found and what was left after each step that dropped anything.

    A step is shown in all panels if it changed any language; what a step took is the light end of its bar.
    """
    changed = table[(table["documents_in"] != table["documents_out"]) | (table["bytes_in"] != table["bytes_out"])]
    steps = [step for step in dict.fromkeys(table["step"]) if step in set(changed["step"])]
    languages = list(dict.fromkeys(table["language"]))
    columns = min(COLUMNS, len(languages))
    rows = -(-len(languages) // columns)
    figure, axes = make_axes(columns, 0.8 + rows * (0.9 + 0.24 * len(steps)), rows, sharey=True)
    for ax in axes.flat[len(languages) :]:
        ax.set_visible(False)
    names = ["found", *(step.replace("_", " ") for step in steps)]
    for ax, language in zip(axes.flat, languages, strict=False):
        ours = table[table["language"] == language].set_index("step")
        first = ours.iloc[0]
        documents = [first["documents_in"], *ours["documents_out"].reindex(steps)]
        left = [first["bytes_in"] / 1e6, *ours["bytes_out"].reindex(steps) / 1e6]
        before = [left[0], *left[:-1]]
        ax.barh(range(len(names)), before, color=NEW_LIGHT, alpha=0.45, height=0.7)
        ax.barh(range(len(names)), left, color=NEW, height=0.7)
        for place, (size, count) in enumerate(zip(left, documents, strict=True)):
            text = f"{size:,.1f} MB · {count:,.0f}"
            ax.annotate(
                text, (before[place], place), (4, 0), textcoords="offset points", va="center", fontsize=7, color=INK
            )
        ax.set_title(title(language))
        ax.set_yticks(range(len(names)), names)
        ax.set_xlim(0, 1.55 * max(left[0], 1e-9))
        ax.set_xlabel("MB left · documents left", color=FAINT)
        ax.grid(axis="y", visible=False)
    axes[0, 0].invert_yaxis()
    return figure
