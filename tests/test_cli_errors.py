"""Mistakes on the command line: one clear message, the right exit code, no traceback, nothing written."""

import re

import pytest

from fusion_pipeline import cli as command_line

MISTAKES = {
    "stage=adaptrs": ["no stage 'adaptrs'", "did you mean 'adapters'"],
    "stage=merge metod=ties": ["did you mean 'method'"],
    "stage=merge method=ties desity=1": ["did you mean 'density'"],
    "stage=merge method=tie": ["no merge 'tie'", "where: merge=tie\n"],
    "stage=adapters task=[sentiment,nli] shared=tru": ["'tru' is not true or false", "shared=true"],
    "adapter=pfeifer": ["no adapter 'pfeifer'", "did you mean 'pfeiffer'"],
    "adapter.reduction_factr=8": ["did you mean 'adapter.reduction_factor'"],
    "adaptr=pfeiffer": ["did you mean 'adapter'"],
    "adapter.reduction_factor.x=1": ["'adapter.reduction_factor.x'"],
    "adapter={a:1}": ["adapter", "pfeiffer"],
    "trainer.learning_rat=1": ["did you mean 'learning_rate'"],
    "trainer.output_dir=x": ["output_root="],
    "trainer.seed=1": ["seed="],
    "experiment=nowhere": ["no experiment 'nowhere'"],
    "seed=0,1": ["several values", "-m"],
    "adapters=a,b": ["several values", "adapters=[a,b]"],
    "seed={": ["cannot be read", "seed"],
    "seed=-1": ["seed", "whole number"],
    "seed=true": ["seed", "whole number"],
    "dry_run=maybe": ["dry_run", "true or false"],
    "columns=3": ["columns"],
    "output_root=": ["output_root"],
    "seed=${nowhere}": ["nowhere"],
    "hydra.nothing=1": ["hydra.nothing"],
    "+stray=1": ["no option 'stray'"],
    "sentiment": ["'sentiment' is not key=value", "task=sentiment"],
    "--dry-run=true": ["no flag '--dry-run'", "without dashes"],
    "--multi": ["did you mean '--multirun'"],
    "--config-dir=/nowhere": ["no folder '/nowhere'"],
    "--config-name=other": ["no root config 'other'"],
    "--experimental-rerun=job.pickle": ["unpickles"],
}


@pytest.mark.parametrize("word", MISTAKES)
def test_a_mistake_is_named_with_what_to_try(word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = word.split() if word.startswith("stage=") else ["stage=adapters", word]
    assert command_line.main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "Traceback" not in printed.err
    for expected in MISTAKES[word]:
        assert expected in printed.err
    assert list(tmp_path.iterdir()) == []


def test_without_a_stage_all_stages_are_listed_with_what_they_do(capsys):
    assert command_line.main(["task=sentiment"]) == 2
    error = capsys.readouterr().err
    assert all(
        re.search(rf"stage={stage} +\w+", error) for stage in ("adapters", "fusion", "evaluate", "predict")
    )


def test_a_process_answers_a_mistake_without_traceback_and_debug_shows_it(cli):
    plain, debug = cli.probe("adapter=nope"), cli.probe("adapter=nope", "debug=true")
    assert plain.returncode == debug.returncode == 2
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr
    assert "no adapter 'nope'" in debug.stderr


def test_an_unforeseen_exception_is_one_message_and_exit_code_1(cli):
    done = cli.probe("input=break")
    assert done.returncode == 1
    assert "RuntimeError: broken pipe dream" in done.stderr
    assert "debug=true" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_called_a_full_disk(cli):
    done = cli.probe("input=full")
    assert (done.returncode, "the disk is full" in done.stderr) == (1, True)


def test_stopping_a_run_is_one_line_and_exit_code_130(cli):
    done = cli.probe("input=stop")
    assert done.returncode == 130
    assert len(done.stderr.splitlines()) == 1


def test_a_broken_config_file_of_a_person_is_named(cli):
    (cli.configs / "experiment").mkdir()
    (cli.configs / "experiment" / "mine.yaml").write_text("a: [")
    done = cli.probe("experiment=mine")
    assert done.returncode == 2
    assert "mine.yaml" in done.stderr


def test_a_misspelt_key_in_an_experiment_is_refused(cli):
    (cli.configs / "experiment").mkdir()
    (cli.configs / "experiment" / "mine.yaml").write_text("# @package _global_\nsede: 3\n")
    done = cli.probe("experiment=mine")
    assert done.returncode == 2
    assert "did you mean 'seed'" in done.stderr


def test_only_rank_0_prints(cli):
    first, second = cli.probe("task=a", RANK="0"), cli.probe("stage=nope", RANK="1")
    assert first.stdout
    assert (second.returncode, second.stdout, second.stderr) == (2, "", "")
    failing = cli.probe("input=break", RANK="1")
    assert failing.returncode == 1
    assert failing.stderr.startswith("error on rank 1: ")
