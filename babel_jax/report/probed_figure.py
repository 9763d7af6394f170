"""The figure of a probe in a notebook: one model, layer by layer."""

import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from babel_jax.common.errors import UserError
from babel_jax.report.drawing import STYLE, Line, Panel, language_colour, percent_axis
from babel_jax.report.mechanism_drawing import LOSS_TITLES, Series, by_layer, counts_axis

# metric -> (how it is drawn, what stands beside its end, behind the prompts' language)
SHARES = {"primary_share_pair": ("-", "prompts"), "concept_share": ("--", "less other pairs")}
LOSSES = ("bits_per_byte", "loss")  # the first of them that was measured


class Shown(Figure):
    """A figure that a notebook shows, whether pyplot is imported or not."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110, facecolor="white")
        return buffer.getvalue()


def figure(result) -> Figure:
    """What of shares, neurons and losses was measured, a panel each. `result`: a `probed.Probed`.

    Raises:
      UserError: nothing of them was.
    """
    panels = [panel for panel in (_shares(result), _neurons(result), _losses(result)) if panel]
    if not panels:
        raise UserError("nothing was measured that could be drawn; give the probe texts with more prompts.")
    with matplotlib.rc_context(STYLE):
        drawn = Shown(figsize=(3.9 * len(panels), 3.1), layout="constrained")
        drawn.get_layout_engine().set(w_pad=0.08, h_pad=0.06, wspace=0.04)
        for ax, draw in zip(drawn.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            draw(ax)
    return drawn


def _series(rows: pd.DataFrame, name: str, language: str, dash: str = "-") -> Series:
    rows = rows.sort_values("layer")
    line = Line(*(rows[column].to_numpy() for column in ("layer", "value", "ci_low", "ci_high")))
    return Series(name, line, language_colour(language), dash)


def _shares(result) -> Callable | None:
    rows = result.working_language
    rows = rows[(rows["layer"] > 0).to_numpy() & rows["metric"].isin(SHARES).to_numpy(bool)]
    for option, wanted in (("subset", "all"), ("lens", None)):
        if option in rows:
            rows = rows[(rows[option].isna() if wanted is None else rows[option] == wanted).to_numpy(bool)]

    def y_axis(ax) -> None:
        percent_axis(ax)
        ax.set_ylim(min(0, 1.05 * rows["ci_low"].min()), 1.02)

    def draw(ax) -> None:
        shown = []
        for (language, metric), group in rows.groupby(["language", "metric"]):
            dash, behind = SHARES[metric]
            shown.append(_series(group, f"{language} {behind}", language, dash))
        by_layer(Panel(ax, "shares", []), shown, y_axis, gap=0.09)
        ax.set_title(f"Prefers names of {result.material.primary}")

    return draw if len(rows) else None


def _neurons(result) -> Callable | None:
    rows = result.neurons
    rows = rows[((rows["layer"] > 0) & (rows["metric"] == "lape_target")).to_numpy(bool)]

    def draw(ax) -> None:
        shown = [_series(group, language, language) for language, group in rows.groupby("language")]
        by_layer(Panel(ax, "neurons", []), shown, counts_axis(shown), gap=0.09)
        ax.set_title("Neurons specific to a language")

    return draw if len(rows) else None


def _losses(result) -> Callable | None:
    there = result.losses
    metric = next((name for name in LOSSES if (there["metric"] == name).any()), None)

    def draw(ax) -> None:
        rows = there[(there["metric"] == metric).to_numpy(bool)]
        rows = rows.sort_values("language", key=lambda names: names != result.material.primary, kind="stable")
        places, value_K = np.arange(len(rows)), rows["value"].to_numpy()
        error_2xK = np.abs(rows[["ci_low", "ci_high"]].to_numpy().T - value_K)
        colours = [language_colour(language) for language in rows["language"]]
        ax.bar(places, value_K, yerr=error_2xK, color=colours, width=0.6, error_kw={"linewidth": 1})
        ax.set_xticks(places, rows["language"])
        ax.set_ylabel(LOSS_TITLES[metric][1])
        ax.set_title("Held-out loss")

    return draw if metric else None
