"""The figures of the corpora: what the optimiser asks for, and what from-scratch models make of it (see figures.py)."""

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from babel_jax import statistics
from babel_jax.optimum import algorithm1, compare
from babel_jax.optimum import rivals as searches
from babel_jax.report import lookups
from babel_jax.report.drawing import (
    CONTROL,
    FAINT,
    INK,
    KNOWLEDGE,
    NEW,
    PROPOSAL,
    curve_table,
    depth_colour,
    dot_axes,
    draw_curve,
    draw_point,
    label_ends,
    language_colour,
    make_axes,
    percent_axis,
    points_axis,
    step_axis,
)
from babel_jax.report.words import SOURCE_NAMES, language_name, mix_title, names

# Billions of tokens in the paper's optimised corpus; what it left alone is not listed.
PAPER_OPTIMISED = {"php": 5.0, "csharp": 10.0}
SOURCE_COLOURS = {"loss": NEW, "loss_knowledge": KNOWLEDGE, "knowledge_share": PROPOSAL}
MANY = 20.0  # an interval that goes on beyond so many times the original is cut off with an arrow


def tokens(findings: dict, language: None = None):
    """Tokens of each new language: the original corpus, and what each source of P asks for, by Eq. 3."""
    original = findings["study"].get("original") or {}
    sources = list(dict.fromkeys(source for here in findings["languages"].values() for source in here["proposals"]))
    new = [name for name in findings["languages"] if name in original]
    if not sources or not new:
        return None
    figure, axes = make_axes(1, 0.21 * (len(sources) + 2) * len(new) + 1.0)
    ax, rows, labels, y = axes[0, 0], [], [], 0.0
    least, largest = min(original[name] for name in new) / MANY, MANY * max(original[name] for name in new)
    known = findings["study"]["primary"] == "python"  # the paper's primary
    ax.set_xscale("log")
    for name in new:
        labels.append((y - 0.5 * len(sources), language_name(name)))
        ax.plot(original[name], y, "o", color="white", markeredgecolor=INK, markersize=7, zorder=3)
        _beside(ax, original[name], y, "original", INK)
        rows.append((name, "original", np.nan, original[name], np.nan, np.nan))
        if known and name in PAPER_OPTIMISED:
            ax.plot(PAPER_OPTIMISED[name], y, "D", color=FAINT, markersize=5, markeredgewidth=0)
            _beside(ax, PAPER_OPTIMISED[name], y, "the paper's", FAINT, left=True)
            rows.append((name, "optimised in the paper", np.nan, PAPER_OPTIMISED[name], np.nan, np.nan))
        for source in sources:
            y -= 1
            colour = SOURCE_COLOURS.get(source, INK)
            found = findings["languages"][name]["proposals"].get(source)
            if found is None:
                continue
            if np.isnan(found["tokens"]):
                _beside(ax, original[name], y, f"{SOURCE_NAMES.get(source, source)}: P* not determined", colour)
                rows.append((name, f"asked from {source}: {found['decision']}", np.nan, np.nan, np.nan, np.nan))
                continue
            low, high = found["tokens_ci"]
            changes = found["decision"] == algorithm1.CHANGE
            shown, *ends = np.clip([found["tokens"], low, high], least, largest)
            ax.plot(ends, [y, y], color=colour, linewidth=2, solid_capstyle="butt", alpha=1 if changes else 0.45)
            for beyond, edge, mark in ((low < least, least, "<"), (high > largest, largest, ">")):
                if beyond:
                    ax.plot(edge, y, mark, color=colour, markersize=5, markeredgewidth=0, alpha=1 if changes else 0.45)
            outside = {least: "<", largest: ">"}.get(shown, "o")
            ax.plot(shown, y, outside, color=colour if changes else "white", markersize=6,
                    markeredgecolor="white" if changes else colour)  # fmt: skip
            end = np.fmax(shown, ends[1])
            _beside(ax, end, y, f"{SOURCE_NAMES.get(source, source)}: {found['decision']}", colour)
            rows.append((name, f"asked from {source}: {found['decision']}", np.nan, found["tokens"], low, high))
        y -= 1.6
    ax.set_yticks([place for place, _ in labels], [text for _, text in labels])
    ax.set_ylim(y + 0.8, 0.8)
    ax.grid(True, axis="x")
    ax.grid(False, axis="y")
    ax.set_xlim(least / 1.5, 12 * largest)
    ticks = [tick for tick in (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000) if ax.get_xlim()[0] <= tick <= largest]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    primary = findings["study"]["primary"]
    ax.set_xlabel(f"tokens, in the unit in which {language_name(primary)} has {original[primary]:g}")
    return figure, curve_table(rows)


def _beside(ax, x: float, y: float, text: str, colour: str, left: bool = False) -> None:
    ax.annotate(text, (x, y), xytext=(-8 if left else 8, 0), textcoords="offset points", fontsize=7.5, color=colour,
                ha="right" if left else "left", va="center")  # fmt: skip


def optimum(findings: dict, language: None = None):
    """Score of from-scratch mixes over the new languages' token share, with what Algorithm 1 asks for."""
    score = lookups.main_score(findings)
    mixes = [mix for mix in lookups.equally_long(findings) if not mix["name"].startswith("swarm")]
    sweep = sorted((mix for mix in mixes if mix["name"][0].isdigit()), key=lambda mix: lookups.new_share(findings, mix))
    if len(mixes) < 2:
        return None
    new = findings["study"]["new"]
    figure, axes = make_axes(1, 4.4)
    ax, rows = axes[0, 0], []
    if len(sweep) > 1:
        share = np.array([lookups.new_share(findings, mix) for mix in sweep])
        by_seed = [lookups.score_S(mix, score) for mix in sweep]
        mean, low, high = (np.array(x) for x in zip(*(statistics.student(values) for values in by_seed), strict=True))
        ax.fill_between(share, low, high, color=NEW, alpha=0.12, linewidth=0)
        for mix, x, values in zip(sweep, share, by_seed, strict=True):
            ax.plot([x] * len(values), values, "o", color=NEW, alpha=0.35, markersize=3.5, markeredgewidth=0)
            rows += [
                ("seeds", f"seed {seed}", x, y, np.nan, np.nan) for seed, y in zip(mix["seeds"], values, strict=True)
            ]
        ax.plot(share, mean, "-o", color=NEW, linewidth=2, markersize=5.5, markeredgecolor="white")
        rows += [("sweep", "mean over seeds", *point) for point in zip(share, mean, low, high, strict=True)]
    labels = []
    for mix in mixes:
        if mix in sweep:
            continue
        x, values = lookups.new_share(findings, mix), lookups.score_S(mix, score)
        mean_x, low_x, high_x = (float(v) for v in statistics.student(values))
        ours = mix["name"].startswith(("algorithm1", "schedule"))
        colour, marker = (PROPOSAL if ours else CONTROL), ("D" if lookups.is_static(mix) else "*")
        ax.plot(
            x, mean_x, marker, color=colour, markersize=6 if marker == "D" else 11, markeredgecolor="white", zorder=4
        )
        labels.append((x, mean_x, mix_title(mix["name"]), colour))
        rows.append(("mixes", mix["name"], x, mean_x, low_x, high_x))
    original = lookups.mix_named(findings, lookups.original_name(findings))
    if original is not None:
        x = lookups.new_share(findings, original)
        ax.plot(
            x, lookups.score_S(original, score).mean(), "o", color="white", markeredgecolor=INK, markersize=8, zorder=5
        )
        labels.append((x, lookups.score_S(original, score).mean(), "original", INK))
        rows.append(("original", original["name"], x, lookups.score_S(original, score).mean(), np.nan, np.nan))
    peak = _continual_peak(findings) if score != compare.MACRO else None
    if peak is not None:
        ax.axhline(peak["value"], color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        ax.text(0.995, peak["value"] + 0.01, "peak of continual pre-training", ha="right", va="bottom", fontsize=7.5,
                color=FAINT)  # fmt: skip
        rows.append(("reference", "continual peak", np.nan, peak["value"], *peak["ci"]))
    asked = _proposal_lines(ax, findings, rows)
    ax.set_xlim(0, 1)
    drawn = [y for line in ax.lines for y in np.atleast_1d(line.get_ydata()) if np.isfinite(y)]
    scores = [row[3] for row in rows if row[0] in ("seeds", "mixes", "sweep", "reference")]
    low_y, high_y = min(scores, default=min(drawn)), max(scores, default=max(drawn))
    ax.set_ylim(max(0, low_y - 0.06), min(1.02, high_y + 0.06))
    line = np.linspace(share[0], share[-1], 80) if len(sweep) > 1 else np.array([])
    heights = np.linspace(*ax.get_ylim(), 30)
    _label_points(ax, labels, [(x, np.interp(x, share, mean)) for x in line] + [(x, y) for x in asked for y in heights])
    ax.set_xticks(np.arange(0, 1.01, 0.1), [f"{10 * tick} %" for tick in range(11)])
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    ax.set_xlabel(f"token share of {names(new)} in the from-scratch run")
    ax.set_ylabel(f"{language_name(score)} accuracy" if score != compare.MACRO else "accuracy, mean over languages")
    return figure, curve_table(rows)


def _continual_peak(findings: dict) -> dict | None:
    (here,) = findings["languages"].values()
    return here["stages"] and here["stages"]["peak"]


def _proposal_lines(ax, findings: dict, rows: list) -> list[float]:
    """Vertical lines where Algorithm 1's corpora lie; with one new language also the proposal's interval. Returns their x."""
    marks, ends = sorted(lookups.asked(findings), key=lambda mark: mark[1]), []
    for source, x, interval in marks:
        text = f"asked from {SOURCE_NAMES.get(source, source)}"
        half = 0.0042 * len(text)
        level = next((i for i, end in enumerate(ends) if x - half > end), len(ends))
        ends[level : level + 1] = [x + half]
        ax.axvline(x, color=PROPOSAL, linewidth=1.2)
        if interval and np.isfinite(interval).all():
            ax.axvspan(*interval, color=PROPOSAL, alpha=0.06, linewidth=0)
        ax.annotate(text, (min(max(x, half), 1 - half), 1.02), xycoords=("data", "axes fraction"), xytext=(0, 11 * level),
                    textcoords="offset points", ha="center", va="bottom", fontsize=7.5, color=PROPOSAL)  # fmt: skip
        rows.append(("proposals", text, x, np.nan, *(interval or (np.nan, np.nan))))
    return [x for _, x, _ in marks]


def _label_points(ax, labels: list[tuple[float, float, str, str]], line: list[tuple[float, float]]) -> None:
    """Names beside points: each takes the nearest of several places around its point that covers no other name."""
    low, high = ax.get_ylim()
    width, height = 0.0063, 0.042  # of a letter and of a line, in axes units
    marks = [(x, (y - low) / (high - low)) for x, y, *_ in labels] + [(x, (y - low) / (high - low)) for x, y in line]
    covered = [(x - 0.008, y - 0.015, x + 0.008, y + 0.015) for x, y in marks]
    ups = (0, *(sign * step for step in np.arange(1, 16) * 0.03 for sign in (1, -1)))
    named = []
    for x, y, text, colour in sorted(labels, key=lambda label: -label[1]):
        at, size = (y - low) / (high - low), width * len(text) + 0.005
        boxes = [
            (left, at + up - height / 2, left + size, at + up + height / 2)
            for up in ups
            for away in (0.012, 0.06, 0.12)
            for left in (x + away, x - away - size)
            if 0 < left < 1 - size and height < 2 * (at + up) < 2 - height
        ]
        if not boxes:
            continue

        def cost(box, x=x, at=at):
            """A name over a name cannot be read, a name over a mark or a line can; far away it is not understood."""
            names_, points_ = (sum(_touch(box, other) for other in others) for others in (named, covered))
            far = min(abs(box[0] - x), abs(box[2] - x)) + abs((box[1] + box[3]) / 2 - at)
            return 100 * names_ + points_ + 10 * far

        box = min(boxes, key=cost)
        named.append(box)
        middle, end = (box[1] + box[3]) / 2, box[0] if box[0] > x else box[2]
        ax.text(box[0], middle, text, transform=ax.transAxes, fontsize=7.5, color=colour, va="center")
        if abs(middle - at) > 0.05 or abs(end - x) > 0.03:
            ax.plot([x, end], [at, middle], color=colour, linewidth=0.6, alpha=0.6, transform=ax.transAxes)


def _touch(one, other) -> bool:
    """Whether two boxes (left, bottom, right, top) overlap."""
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def original_optimised(findings: dict, language: None = None):
    """The original mix against each that Algorithm 1 asks for, paired over seeds."""
    score = lookups.main_score(findings)
    pairs = {
        mix["name"]: lookups.against_original(findings, mix["name"])
        for mix in findings["mixes"]
        if mix["name"].startswith("algorithm1")
    }
    pairs = {name: pair for name, pair in pairs.items() if pair}
    if not pairs:
        return None
    figure, axes = make_axes(2, 0.62 * len(pairs) + 1.5, width_ratios=[1.25, 1], sharey=True)
    rows, places = [], np.arange(len(pairs))[::-1]
    left, right = axes[0]
    for y, (name, pair) in zip(places, pairs.items(), strict=True):
        first, second = (lookups.mix_named(findings, pair[which]) for which in ("first", "second"))
        for i, seed in enumerate(pair["seeds"]):
            one, two = (lookups.score_S(mix, score)[mix["seeds"].index(seed)] for mix in (first, second))
            offset, named = y + 0.13 * (i - (len(pair["seeds"]) - 1) / 2), y == 0 and i == 0
            left.plot([one, two], [offset, offset], color="#B8C0C8", linewidth=1.2, zorder=1)
            left.plot(one, offset, "o", color="white", markeredgecolor=INK, markersize=5.5,
                      label="original mix" if named else None)  # fmt: skip
            left.plot(two, offset, "o", color=PROPOSAL, markersize=5.5, label="optimised mix" if named else None)
            rows += [
                (name, f"original, seed {seed}", np.nan, one, np.nan, np.nan),
                (name, f"optimised, seed {seed}", np.nan, two, np.nan, np.nan),
            ]
        draw_point(right, rows, name, "difference", y, pair, PROPOSAL)
    labels = [
        f"{mix_title(name)}\n{100 * lookups.new_share(findings, lookups.mix_named(findings, name)):.1f} % new"
        for name in pairs
    ]
    for ax in (left, right):
        dot_axes(ax, places, labels)
    points_axis(right)
    left.set_title("Accuracy, one line a seed")
    right.set_title("Optimised minus original (paired), points")
    left.xaxis.set_major_locator(MaxNLocator(5))
    left.xaxis.set_major_formatter(lambda value, _: f"{round(100 * value, 1):g} %")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False, fontsize=8, handlelength=1
    )
    return figure, curve_table(rows)


def searched(name: str) -> tuple[str, ...]:
    """The searches that a mix cannot be had without, as `rivals.flops` names them."""
    if name.startswith(("algorithm1", "shuffled", "same_primary")):
        return (searches.ALGORITHM1,)
    if name.startswith("schedule"):
        return (searches.ALGORITHM1, searches.SCHEDULES)
    return (searches.SWARM, searches.SWEEP) if name.startswith(("law", "regression")) else ()


def rivals(findings: dict, language: None = None):
    """Every named mix against the original, in all and by language, and what finding it costs."""
    reference = lookups.original_name(findings)
    pairs = {
        mix["name"]: lookups.against_original(findings, mix["name"])
        for mix in findings["mixes"]
        if not mix["name"][0].isdigit() and not mix["name"].startswith("swarm")
    }
    pairs = {name: pair for name, pair in pairs.items() if pair}
    if not pairs:
        return None
    long = [mix["name"] for mix in lookups.equally_long(findings)]
    order = sorted(pairs, key=lambda name: (name not in long, -pairs[name]["value"]))
    costs = {row["what"]: row["final_runs"] for row in findings["costs"]}
    figure, axes = make_axes(3, 0.4 * len(order) + 1.3, sharey=True, width_ratios=[1.2, 1.2, 0.6])
    rows, places, labels = [], np.arange(len(order))[::-1], []
    main, each, cost = axes[0]
    score = lookups.main_score(findings)
    for y, name in zip(places, order, strict=True):
        held = compare.guard(findings["mixes"], reference, name)
        colour = PROPOSAL if name.startswith(("algorithm1", "schedule")) else CONTROL
        draw_point(main, rows, score, name, y, pairs[name], colour)
        spread = np.linspace(0.26, -0.26, len(held["languages"]))
        for offset, (one, found) in zip(spread, held["languages"].items(), strict=True):
            harmed = found["ci"][1] < 0
            draw_point(each, rows, f"by language: {one}", name, y + offset, found, language_colour(one),
                       marker="X" if harmed else "o", markersize=7 if harmed else 4.5)  # fmt: skip
        labels.append(mix_title(name) + (" (fails the guard)" if held["passes"] is False else ""))
        runs = sum(costs[part] for part in searched(name) if part in costs)
        cost.barh(y, runs, height=0.5, color=colour, alpha=0.75)
        cost.annotate(f"{runs:.1f}" if runs else "0", (runs, y), xytext=(5, 0), textcoords="offset points", va="center",
                      fontsize=7.5, color=FAINT)  # fmt: skip
        rows.append(("search cost", name, np.nan, runs, np.nan, np.nan))
    for ax in axes[0]:
        dot_axes(ax, places, labels)
    for ax in (main, each):
        points_axis(ax)
    unit = "accuracy" if score == compare.MACRO else f"{language_name(score)} accuracy"
    main.set_title(f"{unit.capitalize() if score == compare.MACRO else unit} minus original's")
    main.set_xlabel("points" + (", mean over languages" if score == compare.MACRO else ""))
    each.set_title("By language (cross: harmed)")
    each.set_xlabel("points")
    cost.set_title("Search cost")
    cost.set_xlabel("in from-scratch runs")
    cost.set_xlim(0, 1.4 * max(1e-9, *(row[3] for row in rows if row[0] == "search cost"), 1.0))
    shown = sorted({one for name in order for one in findings["mixes"][0]["score"]})
    handles = [Line2D([], [], color=language_colour(one), marker="o", label=language_name(one)) for one in shown]
    figure.legend(
        handles=handles, loc="outside upper right", ncols=len(shown), frameon=False, fontsize=8, handlelength=1.2
    )
    return figure, curve_table(rows)


def predicted(findings: dict, language: None = None):
    """The primary's share that the tokens foretell (Eq. 2) against the lens of the from-scratch run itself."""
    rows_in = [row for row in findings["predicted"] if np.isfinite(row["predicted"]) and np.isfinite(row["measured"])]
    if not rows_in:
        return None
    shown = list(dict.fromkeys(row["language"] for row in rows_in))
    columns = min(max(len(shown), 3), 4)
    figure, axes = make_axes(columns, 3.3 * -(-len(shown) // columns), rows=-(-len(shown) // columns), sharey=True)
    rows = []
    for ax in list(axes.flat)[len(shown) :]:
        ax.set_visible(False)
    for ax, one in zip(axes.flat, shown, strict=False):
        ax.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (2, 3)))
        for row in (row for row in rows_in if row["language"] == one):
            ax.plot([row["predicted"]] * 2, row["ci"], color=language_colour(one), linewidth=1.2, alpha=0.6)
            ax.plot(
                row["predicted"],
                row["measured"],
                "o",
                color=language_colour(one),
                markersize=5,
                markeredgecolor="white",
            )
            rows.append((one, row["run"], row["predicted"], row["measured"], *row["ci"]))
        ax.set_title(language_name(one))
        ax.set_xlabel("predicted by Eq. 2")
        ax.grid(True, axis="both")
        percent_axis(ax, top=1.03)
        percent_axis(ax, "x", top=1.03)
    axes[0, 0].set_ylabel(f"measured share of {language_name(findings['study']['primary'])}")
    return figure, curve_table(rows)


def schedule(findings: dict, language: None = None):
    """What a phase of the new languages reaches by its length and its replay, with the proposed schedule."""
    found = findings["schedules"]
    if not found:
        return None
    surface, proposal = found["surface"], found["proposal"]
    figure, axes = make_axes(1, 3.9)
    ax, rows, labels = axes[0, 0], [], []
    step_axis(ax, surface["tokens"])
    for i, replay in enumerate(surface["replay"]):
        colour, name = depth_colour(i, len(surface["replay"])), f"{100 * replay:g} % replay"
        curve = {"steps": surface["tokens"]} | {
            part: surface[f"{key}_RxC"][i] for part, key in (("mean", "score"), ("low", "low"), ("high", "high"))
        }
        draw_curve(ax, rows, "surface", name, curve, colour)
        labels.append((curve["mean"][-1], name, colour))
    percent_axis(ax, top=1.03)
    label_ends(ax, labels)
    if proposal:
        note = f"proposed: {100 * proposal['replay']:g} % replay"
        ax.set_title(f"Score of a phase, and what is {note}")
        score = proposal["predicted"]
        ax.axhline(score, color=PROPOSAL, linewidth=0.9, linestyle=(0, (2, 3)))
        ax.axhspan(*proposal["predicted_ci"], color=PROPOSAL, alpha=0.08, linewidth=0)
        rows.append((note, "score", np.nan, score, *proposal["predicted_ci"]))
        for place, (name, phase) in enumerate(reversed(proposal["by_language"].items())):
            x, ends = (np.asarray(phase[key]) / (1 - proposal["replay"]) for key in ("tokens", "ci"))
            y, colour = 0.05 + 0.07 * place, language_colour(name)
            ax.plot(ends, [y, y], color=colour, linewidth=2)
            ax.plot(x, y, "D", color=colour, markersize=7, markeredgecolor="white")
            ax.annotate(f"best for {language_name(name)}", (max(x, ends[1]), y), xytext=(8, 0), textcoords="offset points",
                        va="center", fontsize=7.5, color=colour)  # fmt: skip
            rows.append((note, f"{name}: tokens", np.nan, x, *ends))
    ax.set_xlabel("tokens of the phase in which the new language is learned (of each, where there are several)")
    ax.set_ylabel("score: mean over all languages")
    return figure, curve_table(rows)
