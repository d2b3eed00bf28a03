"""Pruned fusions: what is dropped, what stays the same, what is told, what is refused."""

import json

import pytest
import tiny

from fusion_pipeline import AdaptedModel, registry, store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.pruning import Look, drop_weakest

pytest_plugins = ("finished",)


def look_at(mass, score):
    """A `look` at made-up masses and scores: {adapters: score}."""

    def look(adapters):
        weights = {"t": {"ffn.0": {"weights": {name: mass[name] for name in adapters}}}}
        return Look(adapters=adapters, validation={}, score=score[len(adapters)], speed=1.0, weights=weights)

    return look


def test_the_adapter_with_the_least_mass_goes_first_whatever_its_sign():
    look = look_at({"a": 0.2, "b": -0.7, "c": 0.1}, {3: 0.9, 2: 0.5, 1: 0.1})
    steps, kept = drop_weakest("abc", look, keep=1)
    assert [step.adapters for step in steps] == [("a", "b", "c"), ("a", "b"), ("b",)]
    assert kept is steps[-1]


@pytest.mark.parametrize(("tolerance", "left"), [(0.0, 3), (0.1, 2), (0.4, 1)])
def test_a_tolerance_stops_before_the_first_step_that_costs_more(tolerance, left):
    look = look_at({"a": 0.2, "b": 0.7, "c": 0.1}, {3: 0.9, 2: 0.8, 1: 0.5})
    _, kept = drop_weakest("abc", look, tolerance=tolerance)
    assert len(kept.adapters) == left


@pytest.mark.parametrize("name", [name for name in registry.options("fusion") if name != "hierarchical"])
def test_a_pruned_fusion_says_what_the_whole_one_says_with_these_adapters(made, name):
    whole, pruned = made.out / "fusion" / f"w-{name}", made.out / "fusion" / f"w-{name}-pruned"
    words = ("adapters=[a,b]", f"target={made.files['a']}", f"name=w-{name}", "trainer.max_steps=2")
    made.stage("stage=fusion", f"fusion={name}", *words)
    made.stage("stage=prune", f"run={whole}", "keep=1")
    told = json.loads((pruned / "prune.json").read_text())
    assert [len(step["adapters"]) for step in told["steps"]] == [2, 1]
    assert told["kept"] == told["steps"][-1]["adapters"]
    assert all(step["examples_per_second"] > 0 for step in told["steps"])
    mass = told["steps"][0]["mass"]
    assert told["steps"][1]["dropped"] == min(mass, key=mass.get)
    rows = tiny.said(pruned)
    expected = tiny.probabilities(AdaptedModel.load(whole, adapters=told["kept"]), rows)
    for one, other in zip(expected, tiny.probabilities(AdaptedModel.load(pruned), rows), strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_a_pruned_fusion_is_an_artefact_like_any_other(made, capsys):
    made.stage("stage=prune", f"run={made.fusion}", "tolerance=1", "name=small")
    folder = made.out / "fusion" / "small"
    manifest = store.verify(folder, kind="fusion")
    assert "pruned from the fusion 'a'" in manifest.notes[0]
    assert [p["name"] for p in manifest.parents] == json.loads((folder / "prune.json").read_text())["kept"]
    made.stage("stage=evaluate", f"run={folder}", columns=False)
    found = json.loads((made.out / "evaluate" / "fusion-small.json").read_text())
    assert found["test"] == pytest.approx(tiny.metrics(folder)["test"])
    made.stage("stage=prune", f"run={made.fusion}", "tolerance=1", "name=small")
    assert "is there already" in capsys.readouterr().out
    with pytest.raises(PipelineError, match="goal"):
        made.stage("stage=prune", f"run={made.fusion}", "tolerance=0.5", "name=small")


def test_a_dry_run_checks_and_writes_nothing(made, capsys):
    made.stage("stage=prune", f"run={made.fusion}", "keep=1", "name=dry", "dry_run=true")
    assert "nothing was pruned" in capsys.readouterr().out
    assert not (made.out / "fusion" / "dry").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("keep=2",), "keep=2 is out of range"),
        (("keep=0",), "keep=0 is out of range"),
        (("tolerance=-1",), "tolerance=-1 is out of range"),
        ((), "one of keep= and tolerance="),
        (("keep=1", "tolerance=0.1"), "one of keep= and tolerance="),
    ],
)
def test_wrong_goals_are_refused(made, words, match):
    with pytest.raises(PipelineError, match=match):
        made.stage("stage=prune", f"run={made.fusion}", *words)


def test_only_fusions_are_pruned(made):
    with pytest.raises(PipelineError, match="only a fusion has adapters to drop"):
        made.stage("stage=prune", f"run={made.adapters / 'a'}", "keep=1")


def test_a_hierarchical_fusion_is_refused(made):
    words = ("fusion=hierarchical", "adapters=[a,b]", f"target={made.files['a']}", "trainer.max_steps=1")
    made.stage("stage=fusion", *words, "name=levels")
    with pytest.raises(PipelineError, match="groups"):
        made.stage("stage=prune", f"run={made.out / 'fusion' / 'levels'}", "keep=1")
