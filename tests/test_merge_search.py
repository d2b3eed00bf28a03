"""Weights found on validation, and batches of merges: judged as they are saved, test read after the choice."""

import importlib.util
import json
from dataclasses import replace

import merged
import numpy as np
import pytest
import torch

from fusion_pipeline.cli import main
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads import Head, HeadSpec
from fusion_pipeline.merging.judged_heads import fitted_head, mean_head
from fusion_pipeline.merging.methods.linear import Linear
from fusion_pipeline.merging.opening import open_sources
from fusion_pipeline.merging.optimising import optimise
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.search_spec import SearchSpec
from fusion_pipeline.merging.trial_grammar import read_trial, read_trials

SEARCHED = ["search=true", "task=sentiment", "searching.budget=3"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return merged.adapters(tmp_path_factory.mktemp("searched"))


def evaluated(root, name):
    assert (
        main(["stage=evaluate", f"run={root / 'adapters' / name}", f"output_root={root}", "logging=none"])
        == 0
    )
    return json.loads((root / "evaluate" / f"adapter-{name}.json").read_text())


@pytest.mark.parametrize("head", [None, "fit", "two"])
def test_the_saved_merge_is_the_one_that_won(root, head):
    name = f"found-{head}"
    given = ["report=true"] if head is None else [f"head_from={head}"]
    assert merged.merge(root, *SEARCHED, f"name={name}", *given) == 0
    found = json.loads((root / "adapters" / name / "search.json").read_text())
    assert found["head"] == (head or "mean")
    standings = {one["name"]: one for one in found["standings"]}
    assert list(standings) == ["one", "two", "plain average", "searched", "outputs fused (mean)"]
    merges = found["trace"][2:]
    assert [one["origin"] for one in merges] == ["plain average"] + ["searched"] * 3
    assert found["best"]["value"] == min(one["value"] for one in merges)
    again = evaluated(root, name)
    for split in ("validation", "test"):
        for key in ("accuracy", "loss"):
            assert standings["searched"][split][key] == pytest.approx(again[split][key], abs=1e-5)
    for file in ("search.md", "search.png"):
        assert (root / "adapters" / name / file).stat().st_size > 0
    assert (root / "adapters" / name / "fusion_report.md").exists() == (head is None)


def test_inputs_are_judged_as_they_were_trained(root):
    assert merged.merge(root, "trials=[50/50]", "task=sentiment", f"output={root / 'judged'}") == 0
    found = json.loads((root / "judged" / "trials.json").read_text())
    for one in found["standings"][:2]:
        trained = json.loads((root / "adapters" / one["name"] / "metrics.json").read_text())
        for split in ("validation", "test"):
            assert one[split]["accuracy"] == pytest.approx(trained[split]["accuracy"])
            assert one[split]["loss"] == pytest.approx(trained[split]["loss"], rel=1e-4)


def test_a_batch_is_one_table_and_its_best_is_kept(root, capsys):
    trials = "trials=[50/50,70/30,two-way,slerp,2+1:ties(density=0.5)@2/1]"
    assert merged.merge(root, trials, "task=sentiment", f"output={root / 'batch'}") == 0
    found = json.loads((root / "batch" / "trials.json").read_text())
    rows = {one["origin"]: one for one in found["trials"]}
    assert rows["50/50"]["validation"] == rows["two-way"]["validation"]
    assert rows["2+1:ties(density=0.5)@2/1"]["weights"] == [2.0, 1.0]
    assert found["best"] == min(found["trials"], key=lambda one: one["value"])["origin"]
    record = json.loads((root / "batch" / "best" / "merge.json").read_text())
    assert record["method"]["kind"] == rows[found["best"]]["method"]
    assert all(text in (root / "batch" / "trials.md").read_text() for text in rows)
    capsys.readouterr()
    assert merged.merge(root, "trials=[50/50]", "task=sentiment", f"output={root / 'batch'}") != 0
    assert "overwrite=true" in capsys.readouterr().err


def test_a_merge_with_a_task_reports_metrics_of_inputs_merge_and_fused_outputs(root):
    assert merged.merge(root, "name=told", "task=sentiment", "report=true") == 0
    found = json.loads((root / "adapters" / "told" / "fusion_report.json").read_text())
    assert [one["name"] for one in found["standings"]] == ["one", "two", "merge", "outputs fused (mean)"]


def test_a_dry_run_judges_nothing(root, capsys):
    assert merged.merge(root, *SEARCHED, "name=dry", "dry_run=true") == 0
    assert merged.merge(root, "trials=[50/50]", "task=sentiment", "name=dry", "dry_run=true") == 0
    assert "dry run" in capsys.readouterr().out
    assert not (root / "adapters" / "dry").exists()


@pytest.mark.parametrize("groups", [1, 2])
def test_the_optimiser_finds_weights_within_its_budget(root, groups):
    plan = Plan(sources=open_sources(["one", "two"], root / "adapters"), method=Linear(normalize=False))
    wanted = [0.8, 0.1] if groups == 1 else [0.8, 0.1, 0.3, 0.6]

    class Found:
        def __init__(self, plan):
            self.plan = plan
            rules = plan.layer_weights.values() if plan.layer_weights else [plan.weights]
            self.flat = [w for rule in rules for w in rule]
            self.value = sum((a - b) ** 2 for a, b in zip(self.flat, wanted, strict=True))

    spec = SearchSpec(budget=120, groups=groups)
    found = optimise(plan, spec, Found, seed=0)
    assert len(found) == 120
    assert min(one.value for one in found) < 1e-2
    assert all(0 <= w <= 1 for one in found for w in one.flat)
    assert [one.flat for one in optimise(plan, SearchSpec(budget=7, groups=groups), Found, seed=0)] == [
        one.flat for one in found[:7]
    ]
    if groups == 2:
        assert set(plan.module_weights.values()) == {(1.0, 1.0)}
        assert set(found[-1].plan.layer_weights) == {"0-0", "1-1"}


def test_a_fitted_head_says_what_the_regression_says():
    from sklearn.linear_model import LogisticRegression
    from tiny import task_data

    data = task_data(sizes=(24, 8, 8))
    draw = np.random.default_rng(0)
    labels = np.array([row["label"] for row in data.splits["train"]])
    x = draw.normal(3, 5, (24, 6)) + labels[:, None]
    head = fitted_head(x.astype(np.float32), data)
    scaled = (x - x.mean(0)) / x.std(0)
    wanted = LogisticRegression(C=0.1, max_iter=1000).fit(scaled, labels).predict_proba(scaled)
    with torch.no_grad():
        found = torch.softmax(head(torch.from_numpy(x.astype(np.float32))), -1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    data = task_data(sizes=(24, 8, 8), regression=True)
    values = np.array([row["label"] for row in data.splits["train"]])
    x = np.stack([values, draw.normal(size=24)], 1).astype(np.float32)
    with torch.no_grad():
        said = fitted_head(x, data)(torch.from_numpy(x))[:, 0].numpy()
    assert np.corrcoef(said, values)[0, 1] > 0.99


def test_a_head_is_not_fitted_to_a_class_that_train_lacks():
    from tiny import task_data

    data = task_data(sizes=(24, 8, 8))
    spec = replace(data.spec, labels=(*data.spec.labels, "perhaps"))
    x = np.random.default_rng(0).normal(size=(24, 6)).astype(np.float32)
    with pytest.raises(PipelineError, match="no example of train is perhaps"):
        fitted_head(x, replace(data, spec=spec))


def test_a_mean_head_is_the_weighted_mean_of_parameters():
    heads = [Head(HeadSpec(type="classification", labels=("a", "b")), 4) for _ in range(2)]
    found = mean_head(heads, [3.0, 1.0])
    for key, value in found.state_dict().items():
        one, two = (head.state_dict()[key] for head in heads)
        torch.testing.assert_close(value, 0.75 * one + 0.25 * two)


@pytest.mark.parametrize(
    ("text", "which", "method", "weights"),
    [
        ("50/50", (0, 1), None, (50.0, 50.0)),
        ("2/1/1", (0, 1, 2), None, (2.0, 1.0, 1.0)),
        ("0.7/-0.3", (0, 1), None, (0.7, -0.3)),
        ("three-way", (0, 1, 2), None, None),
        ("3+1:70/30", (2, 0), None, (70.0, 30.0)),
        ("slerp", (0, 1, 2), "slerp", None),
        ("1+3:slerp", (0, 2), "slerp", None),
        ("ties(density=0.3; scaling=2)@2/1", (0, 1), "ties", (2.0, 1.0)),
    ],
)
def test_trials_are_read(text, which, method, weights):
    found = read_trial(text, 3)
    assert (found.which, found.method, found.weights) == (which, method, weights)
    if "density" in text:
        assert found.options == {"density": 0.3, "scaling": 2}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["slrp"], "did you mean 'slerp'"),
        (["tree-way"], "did you mean 'three-way'"),
        (["1/1/1/1"], "for 4 adapters, and there are 3"),
        (["four-way"], "for 4 adapters, and there are 3"),
        (["1+4:slerp"], "does not name adapters"),
        (["1+1:slerp"], "does not name adapters"),
        (["1+2+3:50/50"], "for 2 adapters, and there are 3"),
        (["ties(density)"], "'density' in 'ties"),
        (["ties@7"], "no shares"),
        (["50/"], "is no trial"),
        ([], "list of trials is empty"),
        (["slerp", "slerp"], "slerp is given twice"),
    ],
)
def test_trials_that_are_none(texts, message):
    with pytest.raises(PipelineError, match=message):
        read_trials(texts, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search=true"], "one task, and none is given"),
        (["search=true", "task=[sentiment,nli]"], "one task, and 2"),
        ([*SEARCHED, "weights=[1,1]"], "both say the weights"),
        ([*SEARCHED, "searching.budget=0"], "budget=0"),
        ([*SEARCHED, "searching.groups=3"], "groups=3"),
        ([*SEARCHED, "searching.objective=los"], "objective=los"),
        ([*SEARCHED, "searching.low=2"], "below high=1"),
        ([*SEARCHED, "head_from=onr"], "did you mean 'one'"),
        ([*SEARCHED, "adapters=[one]"], "nothing to weigh"),
        (["search=maybe"], "'maybe' is not true or false"),
        (["task=sentiment", "trials=[ties(dens=0.3)]"], "did you mean 'density'"),
        (["task=sentiment", "trials=[ties(density=3)]"], "density=3"),
        (["trials=[50/50]"], "one task, and none is given"),
        (["task=sentimnt", "report=true"], "sentiment"),
        (["probe=nowhere.txt", "report=true"], "the probe cannot be read"),
    ],
)
def test_what_cannot_be_searched_is_refused(root, capsys, words, message):
    capsys.readouterr()
    assert merged.merge(root, *words, "name=refused") != 0
    assert message in capsys.readouterr().err
    assert not (root / "adapters" / "refused").exists()


def test_without_cma_the_extra_is_named(root, capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "cma" else real(name, *a)
    )
    assert merged.merge(root, *SEARCHED, "name=refused") != 0
    assert "fusion-pipeline[search]" in capsys.readouterr().err
