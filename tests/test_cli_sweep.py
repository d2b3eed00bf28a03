"""Sweeps: one run for each combination, and names that never meet."""

import itertools

import pytest

from fusion_pipeline.cli.sweep import constant_keys, name_suffix, varying
from fusion_pipeline.store import check_name


def suffix(words, job_words, stage="fusion", name=None):
    return name_suffix(varying(job_words, constant_keys(words)), {"stage": {"name": stage}, "name": name})


def test_members_of_a_sweep_get_names_from_what_varies_only(cli):
    runs = cli.seen("-m", "fusion.dropout=0,0.1", "seed=1,2", "task=x", "adapter.reduction_factor=4")
    names = [run["name"] for run in runs]
    assert names == [f"base-fusion.dropout={d}-seed={s}" for d, s in itertools.product(("0", "0.1"), (1, 2))]


def test_without_a_sweep_a_name_has_no_suffix(cli):
    (run,) = cli.seen("fusion.dropout=0.1", "seed=2")
    assert run["name"] == "base"


def test_a_sweep_over_lists_and_paths_gives_safe_names_that_differ(cli, tmp_path):
    (cli.folder / "x,y").mkdir()
    runs = cli.seen("-m", "adapters=[a,b],[a b],[c/d=e]", "task=x,y")
    names = [run["name"] for run in runs]
    assert [run["config"]["adapters"] for run in runs] == [["a", "b"], ["a b"], ["c/d=e"]]
    assert [run["config"]["task"] for run in runs] == ["x,y"] * 3
    assert len(set(names)) == 3
    assert all(check_name(name) == name for name in names)


def test_the_order_of_the_words_does_not_change_a_name():
    words = ["seed=0,1", "adapter.dropout=0,0.1"]
    job = ["seed=1", "adapter.dropout=0.1"]
    assert suffix(words, job) == suffix(words[::-1], job[::-1]) == "-adapter.dropout=0.1-seed=1"


@pytest.mark.parametrize("word", ["seed=1", "seed=choice(1)", "seed=range(1,2)"])
def test_a_swept_value_with_one_choice_does_not_vary(word):
    assert suffix([word], ["seed=1"]) == ""


def test_a_plain_task_name_already_tells_members_apart_and_a_path_does_not():
    assert suffix(["task=a,b"], ["task=a"], stage="adapters") == ""
    assert suffix(["task=x/a,y/a"], ["task=x/a"], stage="adapters") != suffix(
        ["task=x/a,y/a"], ["task=y/a"], stage="adapters"
    )
    assert suffix(["task=a,b", "name=n"], ["task=a", "name=n"], stage="adapters", name="n") == "-task=a"
    assert suffix(["target=a,b"], ["target=b"], stage="fusion") == ""


def test_different_values_never_get_the_same_suffix():
    values = ["a/b", "a_b", "a b", "[a,b]", "a+b", "'a+b'", "x" * 200, "x" * 201]
    found = {suffix(["run=1,2"], [f"run={value}"]) for value in values if value != "'a+b'"}
    assert len(found) == len(values) - 1
    assert all(check_name("base" + one) for one in found)


def test_a_failing_member_is_reported_the_others_run_and_the_exit_code_says_so(cli):
    done = cli.probe("-m", "input=fine,break,alright")
    assert done.returncode == 1
    assert done.stdout.count('{"config"') == 3
    assert "broken pipe dream" in done.stderr
    assert "1 of 3 runs of the sweep failed" in done.stderr
    assert "input=break" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_one_member_is_found_before_any_runs(cli):
    done = cli.probe("-m", "adapter=pfeiffer,nope")
    assert done.returncode == 2
    assert '"config"' not in done.stdout
    assert "no adapter 'nope'" in done.stderr
