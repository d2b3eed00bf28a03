"""What a run left comes back the same."""

import json
import shutil

import numpy as np
import pytest
import tiny
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError

pytest_plugins = ("finished",)


@pytest.mark.parametrize("kind", ["adapter", "fusion"])
def test_a_loaded_model_predicts_what_the_run_wrote(made, kind):
    folder = made.fusion if kind == "fusion" else made.adapters / "a"
    model = AdaptedModel.load(folder)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    rows = tiny.said(folder)
    assert len(rows) == tiny.metrics(folder)["examples"]["test"]
    for found, row in zip(tiny.probabilities(model, rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_a_loaded_fusion_can_be_asked_with_some_of_its_adapters(made):
    rows = tiny.said(made.fusion)
    full, alone = AdaptedModel.load(made.fusion), AdaptedModel.load(made.fusion, adapters=["b"])
    assert alone.active_adapters == ("b",)
    assert tiny.probabilities(alone, rows) != tiny.probabilities(full, rows)
    assert tiny.probabilities(full, rows, adapters=["b"]) == tiny.probabilities(alone, rows)
    with pytest.raises(PipelineError, match="no adapter 'bb' here"):
        AdaptedModel.load(made.fusion, adapters=["bb"])


def test_a_saved_adapter_can_be_added_to_a_model_of_ones_own(made):
    model = tiny.adapted()
    assert model.load_adapter(made.adapters / "a") == "a"
    assert model.load_adapter(made.adapters / "b", "other") == "other"
    assert model.adapters.names() == ["a", "other"]
    model.set_active("a", head="a")
    rows = tiny.said(made.adapters / "a")
    for found, row in zip(tiny.probabilities(model, rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_stage_two_leaves_its_adapters_as_they_were(made):
    before = load_file(made.adapters / "a" / "adapter.safetensors")
    model = AdaptedModel.load(made.fusion)
    assert tiny.same(before, tiny.snapshot(model.adapters["a"]))
    assert tiny.same(tiny.snapshot(model.backbone), tiny.snapshot(tiny.adapted().backbone))


def test_unfrozen_adapters_are_kept_with_the_fusion_and_the_parents_are_untouched(made):
    made.stage(
        "stage=fusion",
        "adapters=[a,b]",
        f"target={made.files['a']}",
        "name=tuned",
        "unfreeze.adapters=true",
        "unfreeze.learning_rate=1e-3",
    )
    folder = made.out / "fusion" / "tuned"
    tuned = load_file(folder / "tuned.a.safetensors")
    parent = load_file(made.adapters / "a" / "adapter.safetensors")
    assert tuned.keys() == parent.keys()
    assert not tiny.same(tuned, parent)
    store.verify(made.adapters / "a")
    model = AdaptedModel.load(folder)
    assert tiny.same(tuned, tiny.snapshot(model.adapters["a"]))
    for found, row in zip(tiny.probabilities(model, tiny.said(folder)), tiny.said(folder), strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_adapters_from_elsewhere_travel_with_the_fusion(made, tmp_path):
    elsewhere = tmp_path / "theirs" / "b"
    shutil.copytree(made.adapters / "b", elsewhere)
    made.stage("stage=fusion", f"adapters=[a,{elsewhere}]", f"target={made.files['b']}", "name=mixed")
    folder = made.out / "fusion" / "mixed"
    shutil.rmtree(tmp_path / "theirs")
    assert [path.name for path in (folder / "parents").iterdir()] == ["b"]
    rows = tiny.said(folder)
    for found, row in zip(tiny.probabilities(AdaptedModel.load(folder), rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_several_targets_make_one_fusion_with_a_head_each(made):
    targets = f"target=[{made.files['a']},{made.files['b']}]"
    made.stage("stage=fusion", "adapters=[a,b]", targets)
    folder = made.out / "fusion" / "a+b"
    test = tiny.metrics(folder)["test"]
    assert {"a/accuracy", "b/accuracy", "score"} <= set(test)
    rows = tiny.said(folder)
    for task in ("a", "b"):
        own = [row for row in rows if row["task"] == task]
        assert np.mean([r["prediction"] == r["label"] for r in own]) == pytest.approx(
            test[f"{task}/accuracy"]
        )
        found = tiny.probabilities(AdaptedModel.load(folder), own, task=task)
        for one, row in zip(found, own, strict=True):
            assert one == pytest.approx(row["probabilities"], abs=2e-6)


def test_one_adapter_alone_can_be_fused(made):
    made.stage("stage=fusion", "adapters=[b]", f"target={made.files['a']}", "name=alone")
    weights = json.loads((made.out / "fusion" / "alone" / "fusion_weights.json").read_text())
    assert all(site["weights"] == {"b": 1.0} for site in weights["validation"]["a"].values())


def test_regression_from_a_file_runs_both_stages(made, tmp_path):
    table = [(text, len(text) / 7) for text, _ in tiny.rows(60)]
    file = tiny.write_csv(tmp_path / "sizes.csv", table)
    made.stage("stage=adapters", f"task={file}", "columns.type=regression")
    made.stage("stage=fusion", "adapters=[a,sizes]", f"target={file}", "columns.type=regression")
    folder = made.out / "fusion" / "sizes"
    assert {"pearson", "loss"} <= set(tiny.metrics(folder)["test"])
    rows = tiny.said(folder)
    found = AdaptedModel.load(folder).predict([row["text"] for row in rows])
    assert [one.value for one in found] == pytest.approx([row["prediction"] for row in rows], abs=1e-3)
    # In the target's own unit, which is far from 0.
    assert np.mean([row["prediction"] for row in rows]) == pytest.approx(
        np.mean([value for _, value in table]), rel=0.5
    )


def test_evaluating_again_gives_the_same_metrics(made, capsys):
    made.stage("stage=evaluate", f"run={made.fusion}", columns=False)
    again = json.loads((made.out / "evaluate" / "fusion-a.json").read_text())
    metrics = tiny.metrics(made.fusion)
    for split in ("validation", "test"):
        assert again[split] == pytest.approx(metrics[split], abs=1e-6)
    assert "a.csv" in capsys.readouterr().out


def test_predictions_for_a_file_and_for_a_text(made, tmp_path, capsys):
    rows = tiny.said(made.fusion)
    file, output = (
        tiny.write_csv(tmp_path / "in.csv", [(r["text"], "") for r in rows]),
        tmp_path / "out.jsonl",
    )
    made.stage("stage=predict", f"run={made.fusion}", f"input={file}", f"output={output}", columns=False)
    written = [json.loads(line) for line in output.read_text().splitlines()]
    for found, row in zip(written, rows, strict=True):
        assert found["text"] == row["text"]
        assert found["prediction"] == row["prediction"]
        assert found["probabilities"] == pytest.approx(row["probabilities"], abs=2e-6)
    capsys.readouterr()
    made.stage("stage=predict", f"run={made.fusion}", f"text={rows[0]['text']}", columns=False)
    assert rows[0]["prediction"] in capsys.readouterr().out
