import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ml_collections import ConfigDict

from babel_jax.__main__ import main
from babel_jax.common.run_names import RunName, parse
from babel_jax.corpus import mixture_files
from babel_jax.evolution import stages
from babel_jax.optimum import algorithm1, eq3, share_sources, table
from babel_jax.optimum.algorithm1 import Amounts
from babel_jax.optimum.schedules import Schedule
from babel_jax.study import analysis, facts, plan

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
    return pd.DataFrame(rows, columns=[*table.COLUMNS, "knowledge_share"])


@pytest.fixture(scope="module")
def planted() -> pd.DataFrame:
    return pd.concat([continual_runs(*language) for language in PAPER.items()], ignore_index=True)


def written(frame, tmp_path):
    file = tmp_path / "losses.csv"
    frame.to_csv(file, index=False)
    return file


def optimize(file, *more, original=ORIGINAL):
    return main(["optimize", f"--csv={file}", "--primary=python", f"--original={original}", *more])


def sizes(printed: str) -> dict[str, list[str]]:
    """{language: its original, asked and feasible tokens} as they are printed."""
    rows = printed[printed.index("original") :].splitlines()[1:]
    return {row.split()[0]: row.split()[1:4] for row in rows if "%" in row}


# --- a table of losses and scores -----------------------------------------------------------------------------------------


def test_a_table_becomes_the_papers_corpus_without_any_framework(planted, tmp_path):
    """A planted PHP and C# with the paper's shares: 5B and 10B within the intervals; neither jax nor flax is loaded."""
    file, out = written(planted, tmp_path), tmp_path / "mixture.json"
    arguments = ["optimize", f"--csv={file}", "--primary=python", f"--original={ORIGINAL}", f"--out={out}"]
    code = (
        "import sys; from babel_jax.__main__ import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert not {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'tensorflow'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "php" in done.stdout and "95 % interval" in done.stdout and "change" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:9])) <= 80
    found = mixture_files.read(out)
    for language, tokens in {"php": 5e9, "csharp": 10e9}.items():
        low, high = found.made["corpus"]["ci"][language]
        assert low <= tokens <= high < 1.5 * low
        assert found.made["proposals"][language]["best_step"] == 48
        assert found.sources[language].tokens == pytest.approx(tokens, rel=0.15)
    (stage,) = found.stages
    assert stage["weights"]["go"] == pytest.approx(11e9 / found.tokens, abs=1e-4), "nobody measured Go: it stays"
    assert sum(source.tokens for source in found.sources.values()) == pytest.approx(found.tokens, abs=5)


def test_the_mixture_of_a_table_is_what_a_run_reads(planted, tmp_path):
    out = tmp_path / "mixture.json"
    assert (
        optimize(written(planted[planted["language"] == "php"], tmp_path), f"--out={out}", original="python=11,php=23")
        == 0
    )
    settings = plan.default()
    runs = dict.fromkeys(("primary_only", "continual", "new_only", "mix"), {})
    original = {"python": 11.0, "php": 23.0}
    settings.update(ConfigDict({"primary": "python", "new": "php", "runs": runs, "original": original}))
    run = plan.Study(settings).with_mixture(RunName("mix"), str(out)).config_of(RunName("mix"), 0)
    assert run.stages == mixture_files.read(out).stages and set(run.stages[0]["weights"]) == {"python", "php"}


@pytest.mark.parametrize(
    "more, check",
    [
        (["--budget=40e9"], lambda made: made["total"] == pytest.approx(40e9) and made["active"] == ["budget"]),
        (["--min_share=0.2"], lambda made: made["shares"]["php"] == pytest.approx(0.2)),
        (
            ["--reading=joint"],
            lambda made: made["as_written"]["php"] / sum(made["as_written"].values()) == pytest.approx(5 / 16, rel=0.1),
        ),
        (
            ["--budget=61e9", "--max_epochs=1.2"],
            lambda made: "available tokens of python" in made["active"] and made["tokens"]["python"] == pytest.approx(13.2e9),
        ),
    ],
)  # fmt: skip
def test_constraints_and_readings_reach_the_corpus(planted, tmp_path, more, check):
    out = tmp_path / "mixture.json"
    assert optimize(written(planted, tmp_path), *more, f"--out={out}") == 0
    assert check(json.loads(out.read_text())["made"]["corpus"])


def test_without_a_measured_share_nothing_is_changed_unless_it_is_assumed(planted, tmp_path, capsys):
    file = written(planted.drop(columns="knowledge_share"), tmp_path)
    assert optimize(file, "--assume=php") == 0
    printed = capsys.readouterr().out
    assert sizes(printed)["csharp"] == ["16B", "16B", "16B"] and sizes(printed)["php"] == ["23B", "4.95B", "4.95B"]
    assert (
        "csharp: Eq. 3 (pairwise) asks for" in printed
        and "Whether it depends on the primary was not tested." in printed
    )
    assert optimize(file, "--assume=phq") == 2 and "did you mean 'php'" in capsys.readouterr().err


def test_a_language_that_needs_nothing_of_the_primary_is_left_alone(planted, tmp_path, capsys):
    apart = planted.assign(knowledge_share=np.where(planted["language"] == "php", 0.01, planted["knowledge_share"]))
    assert optimize(written(apart, tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "leave alone: does not depend" in printed and sizes(printed)["php"] == ["23B", "23B", "23B"]


def test_one_run_has_an_interval_where_its_losses_have_errors(planted, tmp_path, capsys):
    one = planted[(planted["language"] == "php") & (planted["seed"] == 0)]
    assert optimize(written(one, tmp_path)) == 0
    assert "php: P* has no interval" in capsys.readouterr().out
    assert optimize(written(one.assign(loss_error=0.004), tmp_path)) == 0
    printed = capsys.readouterr().out
    assert sizes(printed)["php"][1] != "23B" and " change" in printed


def test_rows_of_the_primary_and_of_other_columns_are_left_out(planted, tmp_path, capsys):
    extended = pd.concat([planted, planted.assign(language="python", loss=9.0)]).assign(remark="-")
    assert optimize(written(planted, tmp_path)) == 0
    first = capsys.readouterr().out
    assert optimize(written(extended, tmp_path)) == 0 and capsys.readouterr().out == first


def test_scores_become_answers_that_keep_them():
    solved_CxQ = table.answers([0.0, 0.25, 1.0, 0.5], 8, seed=0)
    np.testing.assert_array_equal(solved_CxQ.sum(1), [0, 2, 8, 4])
    assert set(np.unique(solved_CxQ)) == {0, 1}


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns=["loss", "n"]), "lacks the column loss, n"),
        (lambda t: t.assign(loss=t["loss"].where(t["step"] != 96)), "line 10: loss is missing"),
        (lambda t: t.assign(loss=t["loss"].astype(str).where(t["step"] != 4, "abc")), "line 3: loss is abc"),
        (lambda t: t.assign(score=t["score"] * 100), "must be from 0 to 1"),
        (lambda t: t.assign(n=0.5), "n is 0.5 and must be a whole number, 2 or more"),
        (lambda t: t.assign(loss=-t["loss"]), "a number, 0 or more"),
        (lambda t: t.assign(n=1), "2 or more"),
        (lambda t: t.assign(language=t["language"].where(t["step"] != 8)), "line 4: language is missing"),
        (lambda t: t.assign(knowledge_share=2.0), "knowledge_share is 2"),
        (lambda t: t.assign(language="python"), "no language but python"),
        (lambda t: t.iloc[:0], "no language but python"),
        (lambda t: t[t["step"].isin([0, 48])], "has 2 checkpoints of php"),
        (lambda t: t[t["step"] > 0], "must rise from 0"),
        (lambda t: t.assign(tokens=0), "must rise from 0"),
        (lambda t: t.drop(index=t[(t["seed"] == 1) & (t["step"] == 96)].index), "seed 1 of php lacks step 96"),
        (lambda t: pd.concat([t, t.iloc[[3]]]), "php, seed 0, step 16 twice"),
        (lambda t: t.assign(n=t["n"] + t["step"]), "n of php changes within a run"),
        (lambda t: t.assign(language=t["language"].replace("php", "lua")), "--original has no lua"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(planted, tmp_path, capsys, change, message):
    file = written(change(planted[planted["language"] == "php"].reset_index(drop=True)), tmp_path)
    assert optimize(file) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.err.count("\n") == 1 and not printed.out


def test_what_is_no_table_is_one_line(tmp_path, capsys):
    assert optimize(tmp_path / "none.csv") == 2 and "cannot read" in capsys.readouterr().err
    (tmp_path / "empty.csv").write_text("")
    assert optimize(tmp_path / "empty.csv") == 2 and "cannot read" in capsys.readouterr().err


def test_a_table_means_the_same_in_every_coat(planted, tmp_path, capsys):
    file = written(planted[planted["language"] == "php"], tmp_path)
    assert optimize(file) == 0
    expected, lines = capsys.readouterr().out, file.read_text().splitlines()
    header, *rows = lines
    for content in (
        "\n".join([header, *(f"{row}," for row in rows)]),  # pandas would shift every column
        "\n".join(f"{line},," for line in lines),
        "\r\n".join(lines),
        "\r".join(lines),
        "\ufeff" + "\n \n,,,\n\n".join(lines),
        "\n".join(line.replace(",", " , ") for line in lines),
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines),
        "\n".join([header, *reversed(rows)]),
    ):
        file.write_bytes(content.encode())
        assert optimize(file) == 0
        printed = capsys.readouterr()
        assert printed.out == expected and not printed.err


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", "inf", "True", "1e5", "007", "N/A", "ü", "a b"])
def test_a_language_is_called_as_it_is(planted, tmp_path, capsys, name):
    frame = planted[planted["language"] == "php"].assign(language=name)
    assert optimize(written(frame, tmp_path), "--assume", name, original=f"python=11e9,{name}=23e9") == 0
    assert any(line.startswith(f"{name} ") and "change" in line for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda t: t.replace("\n", "\n\n", 3).replace(",4,4000,", ",x,4000,", 1),
            "line 5: step is x and must be a whole",
        ),
        (lambda t: t.replace(",4,4000,", ',4,"4,000",', 1), "line 3: tokens is 4,000 and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,4,000,", 1), "line 3: 9 cells, and the header names 8 columns"),
        (lambda t: t.replace(",4,4000,", ",4,", 1), "line 3: 7 cells, and the header names 8 columns"),
        (lambda t: t.replace(",4,4000,", ",4.5,4000,", 1), "line 3: step is 4.5 and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,1e308,", 1), "line 3: tokens is 1e308 and must be at most 1e+18"),
        (lambda t: t.replace(",4,4000,", ",4,1e400,", 1), "line 3: tokens is 1e400 and must be at most 1e+18"),
        (lambda t: t.replace(",4,4000,", ",4,inf,", 1), "line 3: tokens is inf and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,NA,", 1), "line 3: tokens is NA and must be a whole number"),
        (lambda t: t.replace(",4,4000,", ",4,4_000,", 1), "line 3: tokens is 4_000 and must be a whole number"),
        (lambda t: t.replace(",", ";"), "has ';' between its columns; save it with commas"),
        (lambda t: t.replace(",", "\t"), r"has '\t' between its columns"),
        (lambda t: t.replace("score", "loss", 1), "line 1: the column 'loss' is there twice"),
        (lambda t: t.replace("loss", "Loss", 1), "separated by commas (it has 'Loss')"),
        (lambda t: t.replace("knowledge_share", "knowlege_share", 1), "unknown column 'knowlege_share'; did you mean"),
        (lambda t: t.replace("php", "ph\x1bp", 1), r"line 2: language is 'ph\x1bp'; give it a short, printable name"),
        (lambda t: t.replace("php", '"ph\np"', 1), r"line 2: language is 'ph\np'"),
        (lambda t: t.replace("php", '"php', 1), "line 2: not CSV"),
        (lambda t: t.splitlines()[0], "has no language but python"),
        (lambda t: "\n\n", "it is empty"),
        (lambda t: t.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (lambda t: t.replace("php", "ph\xe9").encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_table_that_is_bent_is_told_by_its_line(planted, tmp_path, capsys, change, message):
    file = written(planted[planted["language"] == "php"], tmp_path)
    content = change(file.read_text())
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert optimize(file) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1 and printed.err[:-1].isprintable() and not printed.out


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--workdir/--study --csv is required"),
        (["--csv=F"], "--csv needs --primary and --original"),
        (["--csv=F", "--primary=python", "--original=php=1"], "--original has no python"),
        (["--csv=F", "--primary=python", "--original=python=x"], "write NAME=TOKENS"),
        (["--csv=F", "--primary=,", "--original=python=1"], "--primary names nothing"),
        (
            ["--csv=F", "--primary=a,b", "--original=a=1,b=1,c=1", "--min_share=0.1"],
            "--min_share goes with one primary",
        ),
        (["--csv=F", "--primary=python", "--original=python=0"], "tokens above 0"),
        (["--csv=F", "--primary=python", "--original=python=1,php=2,python=3"], "has python twice"),
        (["--csv=F", "--primary=p", "--original=p=1", "--source=schedule"], "needs a study"),
        (["--study=W", "--primary=python"], "go with --csv"),
        (["--study=W", "--csv=F"], "not allowed with"),
        (["--study=W", "--reading=both"], "invalid choice"),
    ],
)
def test_options_that_mean_nothing_are_one_line(capsys, arguments, message):
    assert main(["optimize", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1


def test_help_says_what_a_table_needs(capsys):
    with pytest.raises(SystemExit):
        main(["optimize", "--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in table.COLUMNS)


def test_every_source_that_a_table_has_can_be_asked_for(planted, tmp_path, capsys):
    """The planted knowledge share is 0.6 at the peak; P(l) is 0.69 there, and is calibrated against it."""
    file, out = written(planted[planted["language"] == "php"], tmp_path), tmp_path / "m.json"
    found = {}
    for source in ("loss", "knowledge_share", "calibrated"):
        assert optimize(file, f"--source={source}", f"--out={out}", original="python=11e9,php=23e9") == 0
        printed = capsys.readouterr().out
        assert {f"\n{other}\n" in "\n" + printed for other in ("loss", "knowledge_share", "calibrated")} == {True}
        assert all(
            printed.index(f"{other}\nlanguage") <= printed.index(f"{source}\nlanguage") for other in ("loss", source)
        )
        made = mixture_files.read(out).made
        found[source] = made["proposals"]["php"]["p_star"]
        assert made["source"] == source and made["proposals"]["php"]["calibrated"] == (
            "isotonic" if source == "calibrated" else None
        )
    assert found == pytest.approx({"loss": 11 / 16, "knowledge_share": 0.6, "calibrated": 0.6}, abs=0.05)
    without = written(planted.drop(columns="knowledge_share"), tmp_path)
    assert optimize(without, "--source=calibrated") == 2 and "unknown source" in capsys.readouterr().err


def test_several_primaries_of_a_table_count_together(planted, tmp_path, capsys):
    """Python and C++ in the proportions 2 to 1: the loss is the share of both, and the corpus keeps their proportions."""
    frame = planted[planted["language"] == "php"].drop(columns="knowledge_share")
    both = 0.6 + 0.001 * frame["seed"].to_numpy() - 0.001
    frame = frame.assign(working_language_python=both * 2 / 3, working_language_cpp=both / 3)
    frame, out = (
        pd.concat([frame, frame.assign(language="cpp", score=0.0)]),
        tmp_path / "m.json",
    )  # a primary's rows: left out
    arguments = [f"--csv={written(frame, tmp_path)}", "--primary=python, cpp,python", f"--out={out}"]
    arguments.append("--original=python=8e9,cpp=4e9,php=30e9")
    assert main(["optimize", *arguments, "--source=working_language"]) == 0
    printed = capsys.readouterr().out
    assert {name: row[1] for name, row in sizes(printed).items()} == {"python": "8B", "cpp": "4B", "php": "8B"}
    assert "proportions" not in printed
    found = mixture_files.read(out)
    assert found.stages[0]["weights"] == {"python": 0.4, "cpp": 0.2, "php": 0.4}
    assert found.made["proposals"]["php"]["tokens"] == pytest.approx(8e9), "12e9 of both primaries"
    assert main(["optimize", *arguments]) == 0
    found = mixture_files.read(out).made["corpus"]["tokens"]
    assert found["php"] == pytest.approx(12e9 * 5 / 11, rel=0.15) and found["python"] == 2 * found["cpp"] == 8e9
    assert main(["optimize", *arguments, "--max_epochs=0.5"]) == 0, "a bound holds for each in its proportion"
    found = mixture_files.read(out).made["corpus"]
    assert found["tokens"]["python"] == pytest.approx(4e9) and "available tokens of python+cpp" in found["active"]


def test_a_language_that_leans_on_one_of_two_primaries_depends_on_them(planted, tmp_path, capsys):
    """On the smaller one, even: what counts is the share of both, and how it is off their proportions is said."""
    frame = planted[planted["language"] == "php"].drop(columns="knowledge_share")
    cpp = (
        0.6 + 0.001 * frame["seed"].to_numpy() + 0.1 * (frame["step"].to_numpy() > 100)
    )  # another share after the peak
    file = written(frame.assign(working_language_python=0.02, working_language_cpp=cpp), tmp_path)
    arguments = ["optimize", f"--csv={file}", "--primary=python,cpp", "--original=python=11e9,cpp=1e9,php=23e9"]
    assert main([*arguments, "--source=working_language"]) == 0
    printed = capsys.readouterr().out
    assert sizes(printed)["php"][1] == "7.32B" and "does not depend" not in printed  # 12e9 x (1 - 0.621) / 0.621
    assert (
        "php: its working_language at the peak is off the primaries' proportions by python -55, cpp +55 points."
        in printed
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(columns="working_language_cpp"), "lacks the column working_language_cpp"),
        (
            lambda frame: frame.assign(working_language_cpp=0.7),
            "line 2: working_language_python + working_language_cpp is",
        ),
        (lambda frame: frame.assign(working_language_cpp=1.7), "working_language_cpp is 1.7 and must be from 0 to 1"),
        (lambda frame: frame.assign(working_language=0.6), "give it for each primary, or for all together"),
    ],
)
def test_wrong_shares_of_several_primaries_are_errors(planted, tmp_path, capsys, change, message):
    frame = planted.assign(working_language_python=0.4, working_language_cpp=0.2)
    file = written(change(frame), tmp_path)
    original = "--original=python=8,cpp=4,php=30,csharp=2"
    assert main(["optimize", f"--csv={file}", "--primary=python,cpp", original]) == 2
    assert message in capsys.readouterr().err


def test_a_language_without_the_source_keeps_its_tokens_and_is_named(planted, tmp_path, capsys):
    frame = planted.copy()
    frame.loc[frame["language"] == "csharp", "knowledge_share"] = np.nan
    assert optimize(written(frame, tmp_path), "--source=calibrated") == 0
    printed = capsys.readouterr().out
    assert "csharp: it has no calibrated, and keeps its tokens." in printed and sizes(printed)["csharp"][1] == "16B"


def test_the_first_share_that_was_measured_calibrates():
    """Knowledge comes before the working language; where it stays the same, nothing is calibrated."""
    rows = continual_runs("php", 0.6)
    (observation,) = table.observations(rows.assign(working_language=0.3), {"python": 11e9}).values()
    after = observation.shares["knowledge_share"]
    spread = np.array([0.0, 0.0, 0.09])[:, None]  # the mean over seeds counts, not one of them
    middle = by_all_sources(observation, {"knowledge_share": after + spread}).proposals["calibrated"].p_star
    assert middle == pytest.approx((after + spread)[:, PEAK].mean(), abs=0.02)
    both = by_all_sources(observation, {"knowledge_share": after, "working_language": 0.9 * after})
    assert both.chosen.measured == "knowledge_share"
    still = by_all_sources(observation, {"knowledge_share": np.zeros_like(after), "working_language": 0.9 * after})
    assert still.chosen is None


def by_all_sources(observation, shares):
    observation = dataclasses.replace(observation, shares=shares)
    found = stages.find(observation.steps, observation.solved)
    return share_sources.proposals(observation, share_sources.shares_of(observation), found, None, Amounts(11e9, 23e9))


@pytest.mark.slow
def test_the_tokens_interval_covers_the_truth_at_its_rate():
    """Whole path, table to tokens: the 95 % interval holds PHP's 5B in 92-98 % of 500 draws of three seeds."""
    generator, inside = np.random.default_rng(7), 0
    for _ in range(500):
        rows = continual_runs("php", PAPER["php"], generator=generator)
        (observation,) = table.observations(rows, {"python": 11e9}).values()
        low, high = table.of_observation(observation, Amounts(11e9, 23e9))["loss"].tokens_ci
        inside += low <= 5e9 <= high
    assert 0.92 <= inside / 500 <= 0.98


# --- a study --------------------------------------------------------------------------------------------------------------


def proposal(p_star: float, decision=algorithm1.CHANGE) -> algorithm1.Proposal:
    return algorithm1.Proposal(
        source="loss",
        language="php",
        p_star=p_star,
        p_star_ci=(p_star - 0.01, p_star + 0.01),
        calibrated=None,
        best_step=64,
        best_tokens=64_000,
        tokens=eq3.pairwise_tokens(p_star, 11.0),
        tokens_ci=tuple(eq3.pairwise_tokens([p_star + 0.01, p_star - 0.01], 11.0)),
        pairwise_share=1 - p_star,
        share_ci=(0.99 - p_star, 1.01 - p_star),
        slope=-np.inf,
        out_of_range=False,
        by_seed=np.array([p_star]),
        replicates_R=np.linspace(p_star - 0.01, p_star + 0.01, 100),
        decision=decision,
        reason=f"php: {decision}.",
    )


@pytest.fixture
def finished(monkeypatch, tmp_path):
    """A study with one finished mix of 880 tokens, and what it found; change `found` before the verb is called."""
    found = SimpleNamespace(
        study=SimpleNamespace(
            primary="python",
            original={"python": 11.0, "php": 23.0},
            runs=[facts.StudyRun(parse("continual"), 3), facts.StudyRun(parse("mix_0.5000"), 3)],
        ),
        missing=["run 'continual' is missing."],
        languages={"php": SimpleNamespace(proposals={"loss": proposal(0.6), "knowledge_share": proposal(0.7)})},
        schedules=None,
    )
    run_dir = tmp_path / "seed3" / "mix_0.5000"
    run_dir.mkdir(parents=True)
    sources = {"php": {"rows": 16, "drawn": 40}, "python": {"rows": 64, "drawn": 40}}
    (run_dir / "DONE").write_text(json.dumps({"step": 10, "tokens": 880, "sources": sources}))
    (run_dir / "config.json").write_text(json.dumps({"config": {"batch_size": 8}}))
    monkeypatch.setattr(analysis, "of_study", lambda workdir: found)
    return found


def test_a_study_becomes_a_mixture_for_as_many_tokens_as_its_mixes(finished, tmp_path, capsys):
    out = tmp_path / "m.json"
    assert main(["optimize", f"--study={tmp_path}", f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "knowledge_share\n" in printed and printed.index("knowledge_share\n") < printed.index("loss\n")
    assert sizes(printed)["php"] == ["595", "190", "352"], "all in tokens of the run"
    found = mixture_files.read(out)
    assert found.stages == ({"tokens": 0, "weights": {"python": 0.6, "php": 0.4}},) and found.tokens == 880
    assert found.sources["php"] == mixture_files.SourceUse(16 * 11, 352, 2.0)
    assert found.made["source"] == "loss" and found.made["proposals"]["php"]["slope"] is None
    assert "replicates_R" not in found.made["proposals"]["php"]
    assert main(["optimize", f"--workdir={tmp_path}", f"--out={out}", "--source=knowledge_share"]) == 0
    assert mixture_files.read(out).stages[0]["weights"] == {"python": 0.7, "php": 0.3}
    assert main(["optimize", f"--workdir={tmp_path}", f"--out={out}", "--max_epochs=1.5"]) == 0
    assert mixture_files.read(out).sources["php"] == mixture_files.SourceUse(176, 264, 1.5)


def test_what_a_study_does_not_support_leaves_its_mix_as_it_is(finished, tmp_path, capsys):
    finished.languages["php"].proposals["loss"] = proposal(0.6, algorithm1.UNDECIDED)
    out = tmp_path / "m.json"
    assert main(["optimize", f"--study={tmp_path}", f"--out={out}"]) == 0
    assert mixture_files.read(out).stages[0]["weights"]["php"] == round(23 / 34, 4)
    assert "undecided" in capsys.readouterr().out


def test_a_schedule_becomes_a_staged_mixture(finished, tmp_path, capsys):
    stages = [{"tokens": 600, "weights": {"python": 1.0}}, {"tokens": 0, "weights": {"python": 0.05, "php": 0.95}}]
    optimize = ["optimize", f"--study={tmp_path}", "--source=schedule", f"--out={tmp_path / 'm.json'}"]
    assert main(optimize) == 2 and "no schedule" in capsys.readouterr().err
    nothing = (np.nan, np.nan)
    schedule = Schedule(stages, 0.05, nothing, 280.0, nothing, 266.0, nothing, {}, 0.5, nothing, {}, "PHP last.")
    finished.schedules = SimpleNamespace(proposal=schedule)
    assert main(optimize) == 0 and "PHP last." in capsys.readouterr().out
    found = mixture_files.read(tmp_path / "m.json")
    assert found.stages == tuple(stages) and found.sources["php"].tokens == round(280 * 0.95)
    for option in ("--budget=5", "--reading=joint"):
        assert main([*optimize, option]) == 2 and "leave --budget" in capsys.readouterr().err


def test_a_study_without_what_is_asked_for_is_one_line(finished, tmp_path, capsys):
    optimize = ["optimize", f"--study={tmp_path}", f"--out={tmp_path / 'm.json'}"]
    assert main([*optimize, "--source=los"]) == 2 and "did you mean 'loss'" in capsys.readouterr().err
    finished.study.runs = finished.study.runs[:1]
    assert main(optimize) == 2 and "trained no mix" in capsys.readouterr().err
    assert main(optimize[:2]) == 0, "printing needs no mix"
    assert (
        main([*optimize[:2], "--budget=0"]) == 2 and "--budget is 0; give a number above 0" in capsys.readouterr().err
    )
    finished.languages["php"].proposals = {}
    capsys.readouterr()
    assert main(optimize) == 2 and "run 'continual' is missing." in capsys.readouterr().err


def test_a_folder_without_a_study_is_one_line(tmp_path, capsys):
    assert main(["optimize", f"--study={tmp_path}"]) == 2 and "is not a study" in capsys.readouterr().err
