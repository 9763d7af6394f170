"""Measurement rows of a study that never ran, with a planted story: for tests of the analyses and of the report."""

import json

import numpy as np
import pandas as pd

from babel_jax import files, measurements
from babel_jax.optimum import algorithm1

STEPS = np.array([0, 4, 8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768])
PRIMARY, NEW = "python", "php"
DEFINITIONS = ("lape_target", "pair_shared", "functional")


def rise(steps, half=28.0):
    return 1 - np.exp(-((np.asarray(steps) / half) ** 1.5))


def fall(steps, start=80.0, width=110.0):
    return 1 - np.exp(-np.maximum(np.asarray(steps) - start, 0) / width)


def curve_of(kind: str, steps=STEPS) -> np.ndarray:
    """Planted accuracy: `fall` rises to .96 and falls to .55, `stay` rises and stays, `flat` is .5."""
    return {
        "fall": 0.04 + 0.92 * rise(steps) - 0.41 * fall(steps),
        "stay": 0.04 + 0.95 * rise(steps),
        "monotone": np.linspace(0.05, 0.9, len(steps)),
        "flat": np.full(len(steps), 0.5),
    }[kind]


def answers(accuracy_C, problems: int, generator) -> np.ndarray:
    """0/1 answers [C, Q] with these accuracies; a problem keeps its difficulty, as real ones do."""
    difficulty_Q = generator.permutation(problems) / problems
    noise_CxQ = generator.normal(0, 0.08, (len(accuracy_C), problems))
    return (difficulty_Q + noise_CxQ < np.asarray(accuracy_C)[:, None]).astype(float)


def planted(seeds=3, problems=200, layers=4, steps=STEPS, control=True) -> pd.DataFrame:
    """All rows of an organism-like study: `continual` rises and falls, `control` stays, the best mix lies inside."""
    rows, frames, judges = [], [], []
    shared_Q = np.arange(problems) < round(0.4 * problems)
    for seed in range(seeds):
        generator = np.random.default_rng(seed)

        def add(run, step, probe, metric, value, language=NEW, n=problems, half=0.02, seed=seed, **more):
            options = more.pop("options", {})
            rows.append(
                measurements.row(
                    run=run, seed=seed, step=int(step), probe=probe, language=language, metric=metric,
                    value=float(value), n=n, ci_low=float(value) - half, ci_high=float(value) + half, options=options,
                    **more,
                )
            )  # fmt: skip

        def judge(run, run_steps, language, solved_CxQ, seed=seed, add=add):
            for subset, mask in (("shared", shared_Q), ("transfer", ~shared_Q)):
                step, item = np.meshgrid(run_steps, np.flatnonzero(mask), indexing="ij")
                frames.append(
                    pd.DataFrame(
                        {"run": run, "seed": seed, "step": step.ravel(), "probe": "evaluation", "language": language,
                         "metric": "solved", "item": item.ravel(), "value": solved_CxQ[:, mask].ravel(),
                         "options": json.dumps({"subset": subset})}
                    )
                )  # fmt: skip
                for c, at in enumerate(run_steps):
                    add(run, at, "evaluation", "accuracy", solved_CxQ[c, mask].mean(), language, int(mask.sum()),
                        0.05, options={"subset": subset})  # fmt: skip
            for c, at in enumerate(run_steps):
                add(run, at, "evaluation", "accuracy", solved_CxQ[c].mean(), language, options={"subset": "all"})

        jitter = generator.normal(0, 0.02)
        end = generator.normal(0.33, 0.05)
        for run in ("continual", "control") if control else ("continual",):
            down = fall(steps) if run == "continual" else np.zeros(len(steps))
            shared = answers(0.05 + 0.94 * rise(steps), int(shared_Q.sum()), generator)
            transfer = answers(
                0.04 + (0.91 + jitter) * rise(steps) - (0.94 - end) * down, int((~shared_Q).sum()), generator
            )
            judge(run, steps, NEW, np.concatenate([shared, transfer], axis=1))
            forget = 0.25 * rise(steps, 300) * (1.6 if run == "continual" else 1)
            judge(run, steps, PRIMARY, answers(0.99 - forget, problems, generator))
            for c, at in enumerate(steps):
                own = rise(steps, 60 + 200 * jitter)[c]
                for language, first, last in ((NEW, 3.1, 0.62), (PRIMARY, 0.75, 1.9)):
                    tilt = 0.08 * np.log1p(at / 60) / np.log1p(768 / 60)
                    loss = first + (last - first) * (own * 0.95 + 0.05 * (at / 768))
                    add(run, at, "loss", "loss", loss + tilt + jitter, language, 9000)
                    knowing = 1.4 * first + (last - 1.2 * first) * (0.8 * own + 0.2 * at / 768) + jitter
                    add(run, at, "loss", "loss_knowledge", knowing, language, 1200)  # fmt: skip
                for layer in range(1, layers + 1):
                    share = (1 - (0.35 + 0.6 * layer / layers) * rise(steps, 90)[c]) * generator.uniform(0.92, 1)
                    add(run, at, "lens", "argmax_coverage", 0.8, n=480, layer=layer, options={"subset": "shared"})
                    for metric, scale in (("prob", 0.5), ("pair", 1.0), ("argmax", 0.25)):
                        add(
                            run,
                            at,
                            "lens",
                            f"primary_share_{metric}",
                            share * scale,
                            n=480,
                            layer=layer,
                            options={"subset": "shared"},
                        )
                        add(
                            run,
                            at,
                            "lens",
                            f"primary_share_{metric}",
                            share * scale,
                            n=480,
                            layer=layer,
                            options={"subset": "transfer"},
                        )
                for definition, first, last in zip(DEFINITIONS, (19, 420, 990), (28, 300, 700), strict=True):
                    move = down[c] if definition == "functional" else rise(steps, 120)[c]
                    value = first + (last - first) * move + generator.normal(0, 6 if first > 30 else 3)
                    add(run, at, "neurons", definition, value, n=1024, half=8, options={"threshold": 0.5})
                for rate in (0.005, 0.01, 0.02, 0.05, 0.1):
                    count = 1024 * rate * (1 + np.sign(0.015 - rate) * 0.4 * down[c]) + generator.normal(
                        0, 1 + 40 * rate
                    )
                    add(run, at, "neurons", "lape_target_sensitivity", count, n=1024, options={"top_rate": rate})
        for part, value in (("none", end), ("embeddings", end - 0.09), ("ffn", end + 0.33), ("blocks", end + 0.46)):
            add("continual", steps[-1], "patch", "word_accuracy", value + generator.normal(0, 0.03), n=240, half=0.06,
                options={"subset": "transfer", "patched": part, "from_step": 80})  # fmt: skip
        for at, value in zip(steps, 0.2 + 0.75 * rise(steps) - (0.6 - end) * fall(steps), strict=True):
            add("continual", at, "evaluation", "word_accuracy", value, n=240, options={"subset": "transfer"})
        judge("primary_only", [1000], PRIMARY, answers([0.995], problems, generator))
        alone = np.concatenate([np.ones(shared_Q.sum()), np.zeros((~shared_Q).sum())])[None]
        judge("new_only", [1000], NEW, alone)
        judges.append((judge, generator))
    frame = pd.concat([measurements.table(rows), *map(_fill, frames)], ignore_index=True)
    rows.clear()
    frames.clear()
    shares = {proposal["pairwise_share"] for proposal in algorithm1.proposals(frame, PRIMARY, NEW).values()}
    for seed, (judge, generator) in enumerate(judges):
        for share in sorted(shares | {0.05, 0.1, 0.2, 0.35, 0.5, 0.6765, 0.8}):
            accuracy = 0.3 + 0.32 * np.exp(-((share - 0.22) ** 2) / 0.02) + 0.15 * rise(1000 * share)
            judge(
                f"mix_{share:.4f}",
                [1000],
                NEW,
                answers([accuracy + generator.normal(0, 0.03)], problems, generator),
                seed,
            )
    return pd.concat([frame, measurements.table(rows), *map(_fill, frames)], ignore_index=True)


def _fill(frame: pd.DataFrame) -> pd.DataFrame:
    for name, (_, default) in measurements.COLUMNS.items():
        if name not in frame:
            frame[name] = default
    return frame[list(measurements.COLUMNS)].astype({name: dtype for name, (dtype, _) in measurements.COLUMNS.items()})


def real_code(seeds=1, sites=300, steps=(0, 100, 200, 400, 800, 1200)) -> pd.DataFrame:
    """Rows of a study on real code: call sites instead of problems, no control, no subsets, bits per byte."""
    frame = planted(seeds, sites, steps=np.array(steps), control=False)
    frame = frame[~frame["probe"].isin(["patch"]) & (frame["metric"] != "functional")]
    frame = frame[~((frame["metric"] == "accuracy") & ~frame["options"].str.contains("all"))]
    frame = frame[frame["metric"] != "word_accuracy"]
    frame = frame[~((frame["probe"] == "lens") & frame["options"].str.contains("transfer"))].copy()
    chosen = frame["probe"].isin(["evaluation", "lens"])
    frame.loc[chosen, "options"] = json.dumps({"subset": "all"})
    bits = frame[frame["metric"] == "loss"].assign(metric="bits_per_byte", probe="evaluation")
    bits = bits.assign(value=bits["value"] / 2, ci_low=bits["ci_low"] / 2, ci_high=bits["ci_high"] / 2)
    return pd.concat([frame, bits], ignore_index=True)


def write_study(path, frame: pd.DataFrame, kind="organism", original_share=0.6765) -> None:
    """A study directory: study.json and the rows, one Parquet file per run, as the study lays them out."""
    for (seed, run), part in frame.groupby(["seed", "run"]):
        measurements.write(path / f"seed{seed}" / run / "measurements" / "rows.parquet", part)
    files.write_json(
        path / "study.json",
        {"kind": kind, "primary": PRIMARY, "new": NEW, "seeds": sorted(frame["seed"].unique().tolist()),
         "original_share": original_share, "runs": [], "wall_seconds": {"train": 412.0, "probe": 61.5},
         "versions": {"jax": "0.10.2"}, "proposals": {}, "config": {}},
    )  # fmt: skip
