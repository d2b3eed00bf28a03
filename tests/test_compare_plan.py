"""The plan of a comparison as data: which runs there are, over which source adapters, and what decides what."""

import pytest

from fusion_pipeline.compare.contenders import Contender
from fusion_pipeline.compare.plan import left_out, plan
from fusion_pipeline.compare.spec import CompareSpec

FUSED = Contender(name="adapterfusion", group="fusion", option="adapterfusion", sources="adapters")
ALONE = Contender(name="full", group="baseline", option="full")
JOINT = Contender(name="multitask", group="baseline", option="multitask", sources="tasks")


def planned(contenders, *, targets=("t",), sources=("a", "b"), rows=None, **values):
    spec = CompareSpec(contenders=tuple(one.name for one in contenders), **values)
    return plan(spec, contenders, targets=targets, sources=sources, rows=rows)


def runs(found, role="run"):
    return [one for one in found if one.role == role]


def test_every_seed_has_source_adapters_of_its_own_seed():
    found = planned([FUSED], seeds=(0, 3))
    assert [one.key for one in runs(found, "source")] == ["a-seed0", "b-seed0", "a-seed3", "b-seed3"]
    assert {one.seed: one.parents for one in runs(found)} == {
        0: ("a-seed0", "b-seed0"),
        3: ("a-seed3", "b-seed3"),
    }


def test_five_seeds_over_two_stage_1_seeds_take_them_in_turn():
    found = planned([FUSED], seeds=(0, 1, 2, 3, 4), stage1_seeds=(0, 1))
    assert [one.stage1_seed for one in runs(found)] == [0, 1, 0, 1, 0]
    assert len(runs(found, "source")) == 4


def test_contenders_without_sources_need_none():
    found = planned([ALONE], seeds=(0, 1))
    assert [(one.role, one.parents, one.stage1_seed) for one in found] == [("run", (), None)] * 2


def test_a_contender_that_trains_on_the_sources_data_names_them_and_waits_for_nothing():
    (run,) = planned([JOINT], seeds=(0,), targets=("a",), sources=("a", "b"))
    assert (run.tasks, run.parents) == (("b",), ())


def test_everything_comes_before_what_needs_it():
    contenders = [Contender(**{**vars(FUSED), "rates": (0.1, 0.2)})]
    found = planned(contenders, seeds=(0, 1), targets=("t", "a"), train_sizes=(5, None))
    seen = set()
    for one in found:
        assert set(one.after) <= seen
        seen.add(one.key)
    assert len(seen) == len(found)


def test_a_target_is_no_source_of_itself():
    found = planned([FUSED], targets=("a", "t"), seeds=(0,))
    assert {one.task: one.parents for one in runs(found)} == {"a": ("b-seed0",), "t": ("a-seed0", "b-seed0")}
    assert left_out([FUSED], ["a", "t"], ["a", "b"]) == ["a"]


def test_the_own_adapter_is_among_them_where_it_is_wanted_and_has_seen_the_same_rows():
    own = Contender(**{**vars(FUSED), "name": "own", "own_adapter": True})
    found = planned([own], seeds=(0, 1), stage1_seeds=(7,), train_sizes=(5, None))
    parents = {(one.seed, one.train_size): one.parents for one in runs(found)}
    assert parents[0, None] == ("a-seed7", "b-seed7", "t-seed7")
    assert parents[1, 5] == ("a-seed7", "b-seed7", "t-n5-draw1-seed7")
    assert [one.draw for one in runs(found, "source") if one.train_size] == [0, 1]
    assert left_out([own], ["a"], ["a", "b"]) == []


def test_a_variant_may_have_some_of_the_sources():
    few = Contender(**{**vars(FUSED), "name": "few", "only": ("b",)})
    found = planned([FUSED, few], seeds=(0,))
    assert {one.contender: one.parents for one in runs(found)} == {
        "adapterfusion": ("a-seed0", "b-seed0"),
        "few": ("b-seed0",),
    }


def test_learning_rates_are_tried_with_the_first_seed_for_every_target_and_size():
    tuned = [Contender(**{**vars(one), "rates": (0.1, 0.2, 0.3)}) for one in (FUSED, ALONE)]
    found = planned(tuned, targets=("t", "u"), seeds=(4, 5), train_sizes=(5, None))
    trials = runs(found, "trial")
    assert len(trials) == 2 * 2 * 2 * 3
    assert {one.seed for one in trials} == {4}
    for run in runs(found):
        same = [
            one.key
            for one in trials
            if (one.contender, one.task, one.train_size) == (run.contender, run.task, run.train_size)
        ]
        assert list(run.trials) == same


def test_sizes_that_a_target_has_no_rows_for_are_left_out():
    found = planned([ALONE], targets=("t", "u"), seeds=(0,), train_sizes=(5, 50), rows={"t": 49, "u": 50})
    assert [(one.task, one.train_size) for one in found] == [("t", 5), ("u", 5), ("u", 50)]


@pytest.mark.parametrize("count", [1, 3])
def test_the_number_of_runs_is_what_one_expects(count):
    found = planned([FUSED, ALONE], targets=("t", "u"), seeds=tuple(range(count)), stage1_seeds=(0,))
    assert len(runs(found)) == 2 * 2 * count
    assert len(runs(found, "source")) == 2
