import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT
from helpers.losses import ORIGINAL, planted, written
from ml_collections import ConfigDict

from babel_jax.__main__ import main
from babel_jax.common.run_names import RunName, parse
from babel_jax.corpus import mixture_files
from babel_jax.optimum import algorithm1, eq3, peak_tokens, regret_table, table
from babel_jax.optimum.schedules import Schedule
from babel_jax.study import analysis, facts, plan


@pytest.fixture(autouse=True)
def nothing_stored(monkeypatch, tmp_path):
    """No table of regrets, so that the default is the paper's source."""
    monkeypatch.setattr(regret_table, "FILE", tmp_path / "none.csv")


@pytest.fixture(scope="module", name="planted")
def planted_table():
    return planted()


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
    arguments = [
        "optimize",
        f"--csv={file}",
        "--primary=python",
        f"--original={ORIGINAL}",
        "--source=loss",
        f"--out={out}",
    ]
    code = (
        "import sys; from babel_jax.__main__ import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert not {'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'tensorflow'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "php" in done.stdout and "95 % interval" in done.stdout and "change" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:9])) <= 80
    mixture = mixture_files.read(out)
    for language, tokens in {"php": 5e9, "csharp": 10e9}.items():
        low, high = mixture.made["corpus"]["ci"][language]
        assert low <= tokens <= high < 1.5 * low
        assert mixture.made["proposals"][language]["best_step"] == 48
        assert mixture.sources[language].tokens == pytest.approx(tokens, rel=0.15)
    (stage,) = mixture.stages
    assert stage["weights"]["go"] == pytest.approx(11e9 / mixture.tokens, abs=1e-4), "nobody measured Go: it stays"
    assert sum(source.tokens for source in mixture.sources.values()) == pytest.approx(mixture.tokens, abs=5)


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
    assert sizes(printed)["csharp"] == ["16B", "16B", "16B"] and sizes(printed)["php"] == ["23B", "4.9B", "4.9B"]
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


@pytest.mark.parametrize("name", ["NA", "nan", "null", "None", "inf", "True", "1e5", "007", "N/A", "ü", "a b"])
def test_a_language_is_called_as_it_is(planted, tmp_path, capsys, name):
    frame = planted[planted["language"] == "php"].assign(language=name)
    assert optimize(written(frame, tmp_path), "--assume", name, original=f"python=11e9,{name}=23e9") == 0
    assert any(line.startswith(f"{name} ") and "change" in line for line in capsys.readouterr().out.splitlines())


def test_a_table_that_does_not_fit_is_one_line(planted, tmp_path, capsys):
    lua = planted.assign(language=planted["language"].replace("php", "lua"))
    for frame, message in ((lua, "--original has no lua"), (planted.drop(columns="score"), "lacks the column score")):
        assert optimize(written(frame, tmp_path)) == 2
        printed = capsys.readouterr()
        assert message in printed.err and printed.err.count("\n") == 1 and not printed.out


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
    p_stars = {}
    for source in ("loss", "knowledge_share", "calibrated"):
        assert optimize(file, f"--source={source}", f"--out={out}", original="python=11e9,php=23e9") == 0
        printed = capsys.readouterr().out
        assert {f"\n{other}\n" in "\n" + printed for other in ("loss", "knowledge_share", "calibrated")} == {True}
        assert all(
            printed.index(f"{other}\nlanguage") <= printed.index(f"{source}\nlanguage") for other in ("loss", source)
        )
        made = mixture_files.read(out).made
        p_stars[source] = made["proposals"]["php"]["p_star"]
        assert made["source"] == source and made["proposals"]["php"]["calibrated"] == (
            "isotonic" if source == "calibrated" else None
        )
    assert p_stars == pytest.approx({"loss": 11 / 16, "knowledge_share": 0.6, "calibrated": 0.6}, abs=0.05)
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


def test_a_language_without_the_source_keeps_its_tokens_and_is_named(planted, tmp_path, capsys):
    frame = planted.copy()
    frame.loc[frame["language"] == "csharp", "knowledge_share"] = np.nan
    assert optimize(written(frame, tmp_path), "--source=calibrated") == 0
    printed = capsys.readouterr().out
    assert "csharp: it has no calibrated, and keeps its tokens." in printed and sizes(printed)["csharp"][1] == "16B"


def stored(monkeypatch, tmp_path, **regrets):
    """A stored table with these regrets."""
    file = tmp_path / "regret.csv"
    lines = [f"{name},8,40,{regret},{regret - 0.01},{regret + 0.01}" for name, regret in regrets.items()]
    file.write_text("\n".join(["optimiser,cells,seeds,regret,low,high", *lines]) + "\n")
    monkeypatch.setattr(regret_table, "FILE", file)


def test_the_default_source_is_the_one_of_least_regret_and_each_says_how_it_fared(
    planted, tmp_path, capsys, monkeypatch
):
    stored(monkeypatch, tmp_path, algorithm1_loss=0.12, peak_tokens=0.02, algorithm1_functional_neurons=0.01)
    file = written(planted, tmp_path)
    small = "python=11e4,php=23e4,csharp=16e4,go=11e4"
    assert optimize(file, original=small) == 0
    printed = capsys.readouterr().out
    assert "peak_tokens has the least mean regret of those tested, but for functional_neurons, which" in printed
    assert "mean regret 12.0 points [11.0, 13.0] over 8 cells, 40 seeds" in printed
    assert "not among those whose regret is known" in printed, "the knowledge share"
    assert sizes(printed)["php"][1] == "43k" and sizes(printed)["python"][2] == "110k"
    assert (
        "\nP*: the primary's share" in printed and max(map(len, printed[printed.index("\nP*:") :].splitlines())) <= 80
    )
    assert optimize(file, "--source=loss", original=small) == 0
    printed = capsys.readouterr().out
    assert "least mean regret" not in printed and printed.rindex("loss\nlanguage") > printed.index(
        "peak_tokens\nlanguage"
    )
    assert optimize(file, "--reading=joint", original=small) == 0
    assert "The source loss has the least mean regret" in capsys.readouterr().out, "a peak has no joint reading"
    assert optimize(file, "--reading=joint", "--source=peak_tokens", original=small) == 2
    assert "leave --reading out" in capsys.readouterr().err


def test_scores_alone_become_a_mixture_within_a_budget(planted, tmp_path, capsys):
    frame, out = planted[["language", "seed", "tokens", "score"]], tmp_path / "m.json"
    small = "python=11e4,php=23e4,csharp=16e4,go=11e4"
    assert optimize(written(frame, tmp_path), "--budget=610e3", f"--out={out}", original=small) == 0
    assert "takes the place of the paper's, loss" in capsys.readouterr().out
    made = mixture_files.read(out)
    assert made.made["source"] == "peak_tokens" and "replicates_R" not in made.made["proposals"]["php"]
    assert made.sources["php"].tokens == pytest.approx(43_000, rel=0.05)
    assert made.sources["go"].tokens == pytest.approx(110_000, rel=1e-3)
    assert made.sources["python"].tokens == pytest.approx(610_000 - 110_000 - 2 * 43_000, rel=0.02), "the rest"
    assert optimize(written(frame, tmp_path)) == 0
    assert "php: its peak is at 4" in capsys.readouterr().out, "43 thousand tokens of 23 billion are another unit"


def test_what_could_not_be_tested_is_offered_as_an_assumption(planted, tmp_path, capsys):
    losses = planted.drop(columns="knowledge_share")
    assert optimize(written(losses, tmp_path), "--source=loss") == 0
    assert "csharp, php: nothing here can tell whether they depend on the primary" in (
        printed := capsys.readouterr().out
    )
    assert "--assume=csharp,php." in printed
    assert optimize(written(planted, tmp_path), "--source=loss") == 0 and "--assume" not in capsys.readouterr().out
    scores = planted[(planted["language"] == "php") & (planted["seed"] == 0)][["language", "seed", "tokens", "score"]]
    small = "python=11e4,php=23e4"
    assert optimize(file := written(scores, tmp_path), original=small) == 0
    assert "php: nothing here can tell whether they fall after their peak" in (printed := capsys.readouterr().out)
    assert "(no interval)" in printed and sizes(printed)["php"] == ["230k", "230k", "230k"]
    assert optimize(file, "--assume=php", original=small) == 0
    assert sizes(capsys.readouterr().out)["php"][1] == "43k"


def test_the_documented_examples_run(capsys, monkeypatch):
    """Each command of the README about an example: by its peak PHP is cut and C++ is not; the losses support no change."""
    monkeypatch.chdir(ROOT)
    lines = (ROOT / "babel_jax" / "optimum" / "README.md").read_text().splitlines()
    commands = [
        line.split()[3:] for line in lines if line.startswith("python -m babel_jax optimize --csv=configs/examples")
    ]
    amounts = []
    for words in commands:
        assert main(words) == 0
        printed = capsys.readouterr().out
        assert "php             -                   " in printed and "4.5B  [3.5B, 5.4B]" in printed, (
            "the peak, in both"
        )
        amounts.append([sizes(printed)[language][1] for language in ("php", "cpp")])
    assert amounts == [["4.5B", "28B"], ["23B", "28B"]]


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
    of_study = SimpleNamespace(
        study=SimpleNamespace(
            primary="python",
            original={"python": 11.0, "php": 23.0},
            runs=[facts.StudyRun(parse("continual"), 3), facts.StudyRun(parse("mix_0.5000"), 3)],
        ),
        missing=["run 'continual' is missing."],
        languages={"php": SimpleNamespace(proposals={"loss": proposal(0.6), "knowledge_share": proposal(0.7)})},
        peaks={},
        original_name=None,
        mix_named=lambda name: None,
        schedules=None,
    )
    run_dir = tmp_path / "seed3" / "mix_0.5000"
    run_dir.mkdir(parents=True)
    sources = {"php": {"rows": 16, "drawn": 40}, "python": {"rows": 64, "drawn": 40}}
    (run_dir / "DONE").write_text(json.dumps({"step": 10, "tokens": 880, "sources": sources}))
    (run_dir / "config.json").write_text(json.dumps({"config": {"batch_size": 8}}))
    monkeypatch.setattr(analysis, "of_study", lambda workdir: of_study)
    return of_study


def test_a_study_becomes_a_mixture_for_as_many_tokens_as_its_mixes(finished, tmp_path, capsys):
    out = tmp_path / "m.json"
    assert main(["optimize", f"--study={tmp_path}", f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    assert "knowledge_share\n" in printed and printed.index("knowledge_share\n") < printed.index("loss\n")
    assert sizes(printed)["php"] == ["595", "190", "352"], "all in tokens of the run"
    mixture = mixture_files.read(out)
    assert mixture.stages == ({"tokens": 0, "weights": {"python": 0.6, "php": 0.4}},) and mixture.tokens == 880
    assert mixture.sources["php"] == mixture_files.SourceUse(16 * 11, 352, 2.0)
    assert mixture.made["source"] == "loss" and mixture.made["proposals"]["php"]["slope"] is None
    assert "replicates_R" not in mixture.made["proposals"]["php"]
    assert main(["optimize", f"--workdir={tmp_path}", f"--out={out}", "--source=knowledge_share"]) == 0
    assert mixture_files.read(out).stages[0]["weights"] == {"python": 0.7, "php": 0.3}
    assert main(["optimize", f"--workdir={tmp_path}", f"--out={out}", "--max_epochs=1.5"]) == 0
    assert mixture_files.read(out).sources["php"] == mixture_files.SourceUse(176, 264, 1.5)


def test_a_study_asks_for_the_tokens_at_its_peaks(finished, tmp_path, capsys):
    """264 of the mix's 880 tokens; a study without a mix, and without a budget, has no number of tokens to take them from."""
    replicates_R = np.linspace(250.0, 280.0, 101)
    interval = algorithm1.percentiles(replicates_R)
    finished.peaks = {
        "php": peak_tokens.PeakTokens(
            "php", 264.0, interval, 64, replicates_R[:1], replicates_R, algorithm1.CHANGE, "so."
        )
    }
    study, out = f"--study={tmp_path}", tmp_path / "m.json"
    assert main(["optimize", study, "--source=peak_tokens", f"--out={out}"]) == 0
    assert mixture_files.read(out).stages[0]["weights"] == {"python": 0.7, "php": 0.3}
    assert sizes(capsys.readouterr().out) == {"python": ["285", "616", "616"], "php": ["595", "260", "260"]}
    assert main(["optimize", study, "--source=peak_tokens"]) == 2 and "unknown source" in capsys.readouterr().err
    finished.mix_named = lambda name: SimpleNamespace(tokens=880)
    assert main(["optimize", study, "--source=peak_tokens"]) == 0 and "616" in capsys.readouterr().out
    assert main(["optimize", study]) == 0 and sizes(capsys.readouterr().out)["php"][0] == "23", "shares of any unit"


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
    mixture = mixture_files.read(tmp_path / "m.json")
    assert mixture.stages == tuple(stages) and mixture.sources["php"].tokens == round(280 * 0.95)
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
