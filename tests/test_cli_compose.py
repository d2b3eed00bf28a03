"""What a command line composes: defaults, precedence, plain values, the trainer's fields, help."""

import dataclasses
import subprocess
import sys

import pytest

from fusion_pipeline import cli as command_line
from fusion_pipeline.cli import trainer_fields


def test_help_lists_stages_groups_and_values_without_importing_anything_heavy(cli):
    command = [sys.executable, "-X", "importtime", "-m", "fusion_pipeline", "--help"]
    done = subprocess.run(command, cwd=cli.folder, env=cli.environment(), capture_output=True, text=True)
    assert done.returncode == 0
    for expected in (
        "adapters",
        "fusion",
        "predict",
        "minilm (default)",
        "output_root=outputs",
        "--cfg job",
        "-m",
    ):
        assert expected in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "fusion_pipeline" in imported
    assert not imported & {"torch", "transformers", "datasets", "evaluate", "wandb", "sklearn", "hydra"}


def test_a_config_error_is_told_without_importing_anything_heavy(cli):
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "fusion_pipeline",
        "stage=adapters",
        "trainer.nope=1",
    ]
    done = subprocess.run(command, cwd=cli.folder, env=cli.environment(), capture_output=True, text=True)
    assert done.returncode == 2
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "transformers", "datasets", "evaluate", "wandb", "sklearn"}


def test_version_is_this_packages_own(capsys):
    from fusion_pipeline import __version__

    assert command_line.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fusion-pipeline {__version__}\n"


def test_hydras_flag_prints_the_composed_config_and_runs_nothing(cli):
    done = cli.probe("task=sentiment", "--cfg", "job", "seed=7")
    assert done.returncode == 0
    assert "task: sentiment" in done.stdout
    assert "seed: 7" in done.stdout
    assert '"config"' not in done.stdout


def test_a_run_leaves_nothing_of_its_own_in_the_working_directory(cli):
    cli.seen("task=a")
    cli.seen("-m", "seed=1,2")
    assert list(cli.folder.iterdir()) == []


def test_a_stage_gets_plain_python_and_the_defaults(cli):
    (run,) = cli.seen("task=sentiment")
    config = run["config"]
    assert config["task"] == "sentiment"
    assert (config["output_root"], config["seed"], config["dry_run"]) == ("outputs", 0, False)
    assert {"backbone", "data", "adapter", "fusion", "head", "trainer", "logging", "columns"} <= config.keys()
    assert "hydra" not in config


def test_stage_then_experiment_then_command_line_win_over_defaults(cli):
    (cli.configs / "stage" / "probe.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /logging: none\n"
        "stage: {name: probe, _target_: probe_stage.run, help: x}\n"
        "trainer: {learning_rate: 0.25, num_train_epochs: 7, weight_decay: 0.5}\n"
    )
    (cli.configs / "experiment").mkdir()
    (cli.configs / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ntask: nli\nseed: 3\ntrainer: {num_train_epochs: 8, weight_decay: 0.75}\n"
    )
    (run,) = cli.seen("experiment=mine", "trainer.weight_decay=1.0", "seed=4")
    trainer, config = run["config"]["trainer"], run["config"]
    assert [trainer[key] for key in ("learning_rate", "num_train_epochs", "weight_decay")] == [0.25, 8, 1.0]
    assert (config["task"], config["seed"], config["logging"]["mode"]) == ("nli", 4, "disabled")


def test_an_experiment_may_choose_the_stage(cli):
    (cli.configs / "experiment").mkdir()
    (cli.configs / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /stage: probe\ntask: [a, b]\n"
    )
    done = cli("--config-dir", str(cli.configs), "experiment=mine")
    assert done.returncode == 0, done.stderr
    assert '"task": ["a", "b"]' in done.stdout


def test_every_training_argument_is_known_without_importing_transformers():
    transformers = pytest.importorskip("transformers")
    real = {one.name for one in dataclasses.fields(transformers.TrainingArguments) if one.init}
    assert trainer_fields.fields() == real
    assert trainer_fields.OURS.keys() <= real


def test_a_training_argument_that_no_yaml_lists_needs_no_plus(cli):
    (run,) = cli.seen("trainer.lr_scheduler_kwargs.num_cycles=2", "trainer.adam_beta1=0.8")
    assert run["config"]["trainer"]["lr_scheduler_kwargs"] == {"num_cycles": 2}
    assert run["config"]["trainer"]["adam_beta1"] == 0.8


def test_a_stage_may_bring_options_of_its_own(cli):
    with (cli.configs / "stage" / "probe.yaml").open("a") as yaml:
        yaml.write("probing: {depth: 1}\n")
    (run,) = cli.seen("probing.depth=2")
    assert run["config"]["probing"] == {"depth": 2}
    assert "did you mean 'probing.depth'" in cli.probe("probing.dept=2").stderr
