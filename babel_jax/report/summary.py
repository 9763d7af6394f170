"""`summary.json`: the study's numbers under stable names (README), and the compact table of them for the terminal."""

import math

from babel_jax.evolution import measured
from babel_jax.optimum import algorithm1


def summary(study: dict, curves: dict, proposals: dict) -> dict:
    """The study's results; null where something was not measured or has no interval. Keys never vary.

    `end` is the mean over the last quarter of the checkpoints, `peak` the maximum of the smoothed accuracy.
    """
    primary, new, decline = study["primary"], study["new"], curves["decline"]
    step = decline and decline["peak_step"]
    accuracy = curves["accuracy"].get(("continual", new, "all"))
    control = curves["accuracy"].get(("control", new, "all"))
    share = curves["knowledge"].get("continual")
    pair = curves["lens"].get(("continual", "primary_share_pair"), [])
    control_pair = curves["lens"].get(("control", "primary_share_pair"), [None] * len(pair))
    working = measured.working_language(pair)
    default = proposals.get(algorithm1.DEFAULT_SOURCE)
    compared = default and algorithm1.compare_mixes(
        curves["sweep"],
        algorithm1.mix_name(study["original_share"]),
        algorithm1.mix_name(default["pairwise_share"]),
    )

    def first(curve):
        return None if curve is None else value(measured.at(curve, curve["steps"][0]))

    return _json(
        {
            "primary": primary,
            "new": new,
            "seeds": len(study["seeds"]),
            "accuracy": {
                "start": first(accuracy),
                "peak": {"step": step, **with_ci(measured.at(accuracy, step))},
                "end": with_ci(measured.end(accuracy)),
                "decline": with_ci(decline),
            },
            "control": {"end": with_ci(measured.end(control)), "stages": curves["control_stages"]},
            "patches": {
                part: value(measured.last(curves["patches"].get(part))) for part in ("embeddings", "blocks", "ffn")
            },
            "knowledge_share": {
                "ceiling": share and share["ceiling"],
                "at_peak": value(measured.at(share, step)),
                "end": value(measured.end(share)),
            },
            "working_language": {
                "primary_share_start": first(working),
                "primary_share_peak": value(measured.at(working, step)),
                "primary_share_end": value(measured.end(working)),
                "layers": [
                    {
                        "layer": layer + 1,
                        "primary_share_start": first(here),
                        "primary_share_peak": value(measured.at(here, step)),
                        "primary_share_end": value(measured.end(here)),
                        "control_end": value(measured.end(beside)),
                    }
                    for layer, (here, beside) in enumerate(zip(pair, control_pair, strict=True))
                ],
            },
            "transferring_neurons": {
                definition: {
                    "peak": value(measured.at(curves["neurons"].get(("continual", definition)), step)),
                    "end": value(measured.end(curves["neurons"].get(("continual", definition)))),
                    "control_end": value(measured.end(curves["neurons"].get(("control", definition)))),
                }
                for definition in ("lape_target", "pair_shared", "functional")
            },
            "stages": curves["stages"],
            "algorithm1": {
                source: {key: proposals.get(source, {}).get(key) for key in ("p_star", "pairwise_share", "joint_share")}
                for source in algorithm1.SOURCES
            },
            "sweep": [
                {"new_share": mix["new_share"], "accuracy": mix["value"], "ci": mix["ci"]} for mix in curves["sweep"]
            ],
            "original_vs_optimised": {
                "original": compared and compared["first"],
                "optimised": compared and compared["second"],
                "difference": compared and compared["value"],
                "ci": compared and compared["ci"],
            },
            "wall_seconds": study.get("wall_seconds", {}),
            "versions": study.get("versions", {}),
        }
    )


def value(point: dict | None) -> float | None:
    return None if point is None else point["value"]


def with_ci(point: dict | None) -> dict:
    return {"value": None, "ci": None} if point is None else {"value": point["value"], "ci": point["ci"]}


def _json(thing):
    """Numbers rounded to 6 digits; NaN becomes null, and so does an interval that has no bounds."""
    if isinstance(thing, dict):
        return {key: _json(entry) for key, entry in thing.items()}
    if isinstance(thing, list | tuple):
        entries = [_json(entry) for entry in thing]
        return None if entries and all(entry is None for entry in entries) else entries
    if isinstance(thing, float):
        return None if math.isnan(thing) else round(thing, 6)
    return thing


def terminal_table(summary: dict) -> str:
    """The study's main numbers as a table of at most 80 columns."""
    accuracy, control = summary["accuracy"], summary["control"]
    share, working = summary["knowledge_share"], summary["working_language"]
    mixes = summary["original_vs_optimised"]
    functional = summary["transferring_neurons"]["functional"]
    best = max(summary["sweep"], key=lambda mix: mix["accuracy"], default=None)
    stages = summary["stages"]
    seen = (
        "no transition seen"
        if stages is None
        else f"transition in steps {stages['transition'][0]}-{stages['transition'][1]}"
    )
    if accuracy["decline"]["value"] is None:
        seen = "not measured"
    lens = [working[f"primary_share_{at}"] for at in ("start", "peak", "end")]
    lines = [
        (
            "accuracy: start, peak, end",
            _join(accuracy["start"], accuracy["peak"]["value"], accuracy["end"]["value"]),
            _ci(accuracy["end"]["ci"]),
        ),
        ("decline from the peak", _number(accuracy["decline"]["value"]), _ci(accuracy["decline"]["ci"])),
        ("stages", seen, ""),
        ("control: end", _number(control["end"]["value"]), _ci(control["end"]["ci"])),
        ("knowledge share: peak, end", _join(share["at_peak"], share["end"]), f"ceiling {_number(share['ceiling'])}"),
        ("working language: start, peak, end", _join(*lens), "share of the primary"),
        (
            "functional neurons: peak, end",
            _join(functional["peak"], functional["end"], digits=0),
            f"control end {_number(functional['control_end'], 0)}",
        ),
        *(
            (
                f"Algorithm 1 from {source}: P*",
                _number(found["p_star"]),
                f"new share {_number(found['pairwise_share'], 4)}",
            )
            for source, found in summary["algorithm1"].items()
        ),
        ("best mix of the sweep", _number(best and best["accuracy"]), best and f"new share {best['new_share']:.4f}"),
        (
            "original, optimised mix",
            _join(mixes["original"], mixes["optimised"]),
            "",
        ),
        ("  difference", _number(mixes["difference"]), _ci(mixes["ci"])),
    ]
    title = f"{summary['primary']} -> {summary['new']}, {summary['seeds']} seed{'s' * (summary['seeds'] != 1)}"
    body = [f"{name:<36} {numbers:<22} {note or ''}".rstrip() for name, numbers, note in lines]
    return "\n".join([title, "-" * 78, *body])


def _number(number, digits: int = 3) -> str:
    return "-" if number is None else f"{number:.{digits}f}"


def _join(*numbers, digits: int = 3) -> str:
    return "  ".join(_number(number, digits) for number in numbers)


def _ci(ci) -> str:
    return "" if ci is None else f"[{ci[0]:.3f}, {ci[1]:.3f}]"
