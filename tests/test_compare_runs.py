"""Comparisons for real, on a toy backbone: what is run, what is found again, what is chosen, what is kept."""

import copy
import csv
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from comparing import Comparing, write_task
from hydra.errors import MissingConfigException

from fusion_pipeline.cli.translate import translate
from fusion_pipeline.compare.ledger import add_row
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError
from fusion_pipeline.store import Manifest
from fusion_pipeline.training.trainer import PipelineTrainer

HERE = Path(__file__).resolve().parent


@pytest.fixture
def comparing(tmp_path):
    return Comparing(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The single adapter and a fusion of two sources with one seed, made once."""
    comparing = Comparing(tmp_path_factory.mktemp("finished"))
    comparing()
    return comparing


@pytest.fixture
def made(finished, tmp_path):
    """A copy of it, to go on from."""
    shutil.copytree(finished.out, tmp_path / "made")
    copied = copy.copy(finished)
    copied.out = tmp_path / "made"
    return copied


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["contenders=[singel]"], "did you mean 'single'"),
        (["seeds=0"], "seeds"),
        (["seeds=[1,1]"], "seeds"),
        (["compare.settings.singel.trainer.max_steps=3"], "did you mean 'single'"),
        (["compare.settings.single.trianer.max_steps=3"], "did you mean 'trainer'"),
        (["compare.settings.single.trainer.max_stps=3"], "did you mean 'max_steps'"),
        (["compare.settings.adapterfusion.fusion.temprature=3"], "did you mean 'temperature'"),
        (["compare.settings.mine.like=adapterfusoin"], "did you mean 'adapterfusion'"),
        (["compare.settings.adapterfusion.adapters=[c]"], "one of: a, b"),
        (["compare.learning_rates.single=[1e-3]"], "different numbers of learning rates"),
        (["compare.learning_rates.default=[1e-3,1e-3]"], "no grid"),
        (["compare.sources.trianer.max_steps=3"], "did you mean 'trainer'"),
        (["fusion=scalearn"], "no contender is 'scalearn'"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_trained(comparing, words, says):
    with pytest.raises((ConfigError, PipelineError), match=None) as caught:
        comparing(*words)
    assert says in str(caught.value)
    assert comparing.artefacts() == {}


def test_a_fusion_that_cannot_be_built_is_refused_by_the_dry_run(comparing):
    with pytest.raises(ConfigError, match="contender attention"):
        comparing("dry_run=true", "compare.settings.attention.fusion.heads=5", contenders="attention")


def test_a_dry_run_shows_what_is_there_and_what_is_not_and_writes_nothing(comparing, capsys):
    comparing("dry_run=true", seeds="2")
    assert "8" in capsys.readouterr().out
    assert not comparing.out.exists()


def test_a_new_contender_and_a_new_seed_run_what_is_missing_and_rows_only_grow(made):
    before, rows = made.artefacts(), made.rows()
    words = ("stage1_seeds=1", f"compare.study={made.out}/study.csv")
    for _ in range(2):
        made(*words, contenders="single,scalearn", seeds="2")
        after = made.artefacts()
        assert {key: after[key] for key in before} == before
        new = {"baselines/t-single-seed1", "fusion/t-scalearn-seed0", "fusion/t-scalearn-seed1"}
        assert after.keys() - before.keys() == new
        assert made.rows()[: len(rows)] == rows
        assert len(made.rows()) == len(rows) + 3
        assert len((made.out / "study.csv").read_text().splitlines()) == 1 + 2 + 4


def test_other_settings_get_an_artefact_of_their_own_and_both_are_found_again(made):
    first = made.artefacts()
    made(contenders="single", steps=3)
    both = made.artefacts()
    (new,) = both.keys() - first.keys()
    assert new.startswith("baselines/t-single-seed0-")
    made(contenders="single", steps=3)
    made(contenders="single,adapterfusion")
    assert made.artefacts() == both


def test_adapters_that_stage_1_trained_are_used(comparing):
    tiny.stage("stage=adapters", "task=a", "trainer.max_steps=2", *comparing.words()[1:4])
    comparing(contenders="weighted")
    assert "adapters/a-seed0" not in comparing.artefacts()
    parents = Manifest.read(comparing.out / "fusion" / "t-weighted-seed0").parents
    assert [parent["name"] for parent in parents] == ["a", "b-seed0"]


def test_what_is_typed_wins_over_settings_from_files_and_a_typed_setting_over_that(comparing):
    words = ("experiment=demo", "trainer.num_train_epochs=1", "compare.parallel=1")
    for more, wanted in (((), 1), (("compare.settings.single.trainer.num_train_epochs=2",), 2)):
        comparing(*words, *more, contenders="single", steps=-1)
        newest = max(comparing.artefacts().items(), key=lambda item: item[1])[0]
        assert Manifest.read(comparing.out / newest).config["trainer"]["num_train_epochs"] == wanted


def test_variants_differ_in_what_their_settings_say(made):
    made(
        "compare.settings.hot.like=adapterfusion",
        "compare.settings.hot.fusion.temperature=4",
        "compare.settings.own.like=hot",
        "compare.settings.own.own_adapter=true",
        contenders="hot,own",
    )
    found = [Manifest.read(made.out / "fusion" / f"t-{name}-seed0") for name in ("hot", "own")]
    assert [one.config["fusion"]["temperature"] for one in found] == [4, 4]
    assert [[parent["name"] for parent in one.parents] for one in found] == [
        ["a-seed0", "b-seed0"],
        ["a-seed0", "b-seed0", "t-seed0"],
    ]


def test_learning_rates_are_chosen_on_validation_even_where_test_says_the_opposite(comparing):
    # A rate that learns nothing says what the untrained head says, one that learns says the frequent class: for one
    # of the two targets that is another one, and on test it is the rare one.
    for name in ("no", "yes"):
        write_task(comparing.data, f"mostly_{name}", mostly=name)
    comparing(
        "target=[mostly_no,mostly_yes]",
        "compare.learning_rates.default=[1e-9,3e-2]",
        contenders="single",
        steps=9,
    )
    found = comparing.json("results.json")["learning_rates"]
    better = [one for one in found if one["trials"][1]["validation"] > one["trials"][0]["validation"]]
    assert len(better) == 1
    target = better[0]["task"]
    rows = [row for row in comparing.rows() if row["target"] == target]
    trials, (run,) = rows[:2], rows[2:]
    tested = [tiny.metrics(comparing.out / row["artefact"])["test"]["accuracy"] for row in trials]
    assert tested[0] > tested[1]
    assert run["learning_rate"] == "0.03"
    assert run["artefact"] == trials[1]["artefact"]
    assert [row["test"] for row in trials] == ["", ""]
    assert len(comparing.artefacts()) == 4


def test_few_examples_leave_validation_and_test_whole_and_are_found_again(comparing):
    comparing("train_sizes=[4,8,99]", contenders="single")
    folders = {row["train_size"]: comparing.out / row["artefact"] for row in comparing.rows()}
    sizes = {size: tiny.metrics(folder)["examples"] for size, folder in folders.items()}
    assert sizes == {size: {"train": int(size), "validation": 24, "test": 24} for size in ("4", "8")}
    tiny.stage("stage=evaluate", f"run={folders['4']}", *comparing.words()[1:4])


def test_rows_of_one_task_can_be_few(comparing):
    comparing("data.train_sizes.t=5", contenders="average")
    folders = {row["target"]: comparing.out / row["artefact"] for row in comparing.rows()}
    trained = {task: tiny.metrics(folder)["examples"]["train"] for task, folder in folders.items()}
    assert trained.pop("t") == 5
    assert trained
    assert min(trained.values()) > 5


def test_few_rows_of_a_source_stay_few_in_few_example_runs(comparing):
    comparing("data.train_sizes.a=6", "train_sizes=[4,null]", contenders="multitask")
    folders = {row["train_size"]: comparing.out / row["artefact"] for row in comparing.rows()}
    trained = {size: tiny.metrics(folder)["examples"]["train"] for size, folder in folders.items()}
    assert trained == {"4": 4 + 6 + 24, "": 24 + 6 + 24}


def test_a_run_made_anew_takes_the_place_of_its_row(tmp_path):
    row = {"role": "run", "target": "t", "contender": "c", "seed": 0, "config_hash": "x", "test": 0.5}
    for seed, test in ((0, 0.5), (1, 0.6), (0, 0.5), (0, 0.9)):
        add_row(tmp_path / "r.csv", row | {"seed": seed, "test": test})
    with (tmp_path / "r.csv").open(newline="") as file:
        assert [(one["seed"], one["test"]) for one in csv.DictReader(file)] == [("1", "0.6"), ("0", "0.9")]


def test_a_failed_run_takes_only_those_along_that_need_it(made):
    words = (
        "compare.settings.scalearn.trainer.max_steps=9",
        "compare.settings.scalearn.trainer.learning_rate=1e30",
        "compare.settings.scalearn.trainer.max_grad_norm=0",
    )
    with pytest.raises(PipelineError, match="t-scalearn-seed0") as caught:
        made(*words, contenders="single,scalearn,weighted")
    assert "1 of 5 runs failed" in str(caught.value)
    assert {row["contender"] for row in made.rows()} - {""} == {"single", "adapterfusion", "weighted"}
    missing = made.json("results.json")["missing"]
    assert [one["contender"] for one in missing] == ["scalearn"]
    assert missing[0]["error"]
    assert (made.out / "compare" / "c" / "logs" / "t-scalearn-seed0.log").read_text().count("error:") == 1


def test_a_failed_source_is_the_reason_that_is_given(comparing):
    words = ("compare.sources.trainer.learning_rate=1e30", "compare.sources.trainer.max_grad_norm=0")
    with pytest.raises(PipelineError, match="3 of 4 runs failed"):
        comparing(*words, steps=12)
    (missing,) = comparing.json("results.json")["missing"]
    assert "the source adapter a-seed0 failed" in missing["error"]


def test_a_killed_comparison_goes_on_where_it_was(comparing, monkeypatch):
    often = [f"trainer.{key}=2" for key in ("eval_steps", "save_steps")]
    often += [f"trainer.{key}=steps" for key in ("eval_strategy", "save_strategy")]
    words = comparing.words(*often, "compare.sources.trainer.max_steps=4", steps=8)
    killed = subprocess.run(
        [sys.executable, str(HERE / "stopped_run.py"), "saving", "6", *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = comparing.artefacts()
    assert set(before) == {"adapters/a-seed0", "adapters/b-seed0"}
    assert len(comparing.rows()) == 2
    steps = []
    train = PipelineTrainer.training_step

    def counted(self, *args, **kwargs):
        steps.append(self.state.global_step)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(PipelineTrainer, "training_step", counted)
    tiny.stage(*words)
    assert steps == [4, 5, 6, 7, *range(8)]
    after = comparing.artefacts()
    assert {key: after[key] for key in before} == before
    assert len(comparing.rows()) == 4


def results(rows):
    return {
        (row["role"], row["target"], row["contender"], row["seed"]): (row["validation"], row["config_hash"])
        for row in rows
    }


def test_processes_side_by_side_leave_what_runs_one_after_the_other_leave(made, comparing):
    comparing("compare.parallel=2")
    assert results(comparing.rows()) == results(made.rows())
    assert (comparing.out / "compare" / "c" / "report.md").is_file()


def test_a_process_that_dies_is_an_error_of_its_run(comparing, monkeypatch):
    # Its interpreter does not get as far as the first run.
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(PipelineError, match="2 of 2 runs failed"):
        comparing("compare.parallel=2", contenders="single", seeds="2")
    assert "its process ended with code" in comparing.json("plan.json")["missing"][0]["error"]


def test_hydras_joblib_launcher_runs_them_too(comparing, cli):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = [
        *tiny.QUICK,
        *comparing.words("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", seeds="2", contenders="single"),
    ]
    done = cli(*map(str, words))
    assert done.returncode == 0, done.stderr
    assert [row["seed"] for row in sorted(comparing.rows(), key=lambda row: row["seed"])] == ["0", "1"]
    card = (comparing.out / "baselines" / "t-single-seed0" / "README.md").read_text()
    assert "stage=compare" in card


def test_a_launcher_that_is_not_installed_is_told_with_its_extra():
    error = MissingConfigException("", missing_cfg_file="hydra/launcher/joblib", options=["basic"])
    assert "fusion-pipeline[parallel]" in translate(error, []).render()
