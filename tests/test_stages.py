"""Whole runs on data files of one's own: what they leave behind."""

import hashlib
import json

import numpy as np
import pytest
import tiny
import yaml
from safetensors.torch import load_file

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError

pytest_plugins = ("finished",)


def test_a_file_without_any_yaml_runs_both_stages_and_leaves_everything(made):
    assert {path.name for path in (made.adapters / "a").iterdir()} == {
        "README.md",
        "adapter.safetensors",
        "config.yaml",
        "heads.safetensors",
        "manifest.json",
        "metrics.json",
        "model.json",
        "predictions.jsonl",
    }
    assert {path.name for path in made.fusion.iterdir()} == {
        "README.md",
        "config.yaml",
        "fusion.safetensors",
        "fusion_weights.json",
        "fusion_weights.png",
        "heads.safetensors",
        "manifest.json",
        "metrics.json",
        "model.json",
        "predictions.jsonl",
    }
    left = {path.name for folder in (made.adapters, made.out / "fusion") for path in folder.iterdir()}
    assert {"a", "b"} <= left
    assert not any(name.startswith(".") for name in left), "checkpoints, locks or drafts were left behind"


def test_metrics_say_how_good_how_long_and_how_many(made):
    for folder in (made.adapters / "a", made.adapters / "b", made.fusion):
        metrics = tiny.metrics(folder)
        for split in ("validation", "test"):
            assert 0 <= metrics[split]["accuracy"] <= 1
            assert "score" not in metrics[split]
        assert 0 < metrics["parameters"]["trainable"] < metrics["parameters"]["total"]
        assert metrics["seconds"] > 0
        assert sum(metrics["examples"].values()) == made.sizes["b" if folder.name == "b" else "a"]
        assert metrics["epochs"] == 2
        assert metrics["world_size"] == 1
        right = [row["prediction"] == row["label"] for row in tiny.said(folder)]
        assert np.mean(right) == pytest.approx(metrics["test"]["accuracy"])


def test_the_manifest_names_data_backbone_and_parents_and_every_file(made):
    manifest = store.verify(made.fusion, kind="fusion")
    assert manifest.backbone["fingerprint"] == tiny.adapted().info.fingerprint
    assert "a.csv" in manifest.data[0]["source"]
    assert [parent["name"] for parent in manifest.parents] == ["a", "b"]
    for parent in manifest.parents:
        weights = (made.adapters / parent["name"] / "adapter.safetensors").read_bytes()
        assert parent["sha256"] == hashlib.sha256(weights).hexdigest()
    card = (made.fusion / "README.md").read_text()
    assert "a.csv" in card
    assert "bert with random weights" in card
    config = yaml.safe_load((made.fusion / "config.yaml").read_text())
    assert config["adapters"] == ["a", "b"]


def test_the_fusion_holds_neither_backbone_nor_adapters(made):
    names = {name.split(".")[-2] for name in load_file(made.fusion / "fusion.safetensors")}
    assert names == {"query", "key", "value"}
    assert all(name.startswith("a/") for name in load_file(made.fusion / "heads.safetensors"))
    assert sum(path.stat().st_size for path in made.fusion.glob("*.safetensors")) < 60_000


def test_fusion_weights_are_on_disk_with_their_history(made):
    weights = json.loads((made.fusion / "fusion_weights.json").read_text())
    for site in weights["validation"]["a"].values():
        assert sum(site["weights"].values()) == pytest.approx(1)
        assert set(site["weights"]) == {"a", "b"}
    assert len(weights["history"]) == 2
    assert (made.fusion / "fusion_weights.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_run_again_trains_nothing_and_another_config_is_refused(made, capsys):
    before = (made.adapters / "a" / "manifest.json").stat().st_mtime_ns
    words = ("stage=adapters", f"task={made.files['a']}", "trainer.num_train_epochs=2")
    made.stage(*words)
    assert "is there already" in capsys.readouterr().out
    with pytest.raises(PipelineError, match=r"made with other settings: adapter\.reduction_factor"):
        made.stage(*words, "adapter.reduction_factor=8")
    with pytest.raises(PipelineError, match="seed"):
        made.stage(*words, "seed=1")
    assert (made.adapters / "a" / "manifest.json").stat().st_mtime_ns == before


def test_the_same_config_and_seed_give_the_same_weights_and_another_seed_others(made):
    words = ("stage=adapters", f"task={made.files['a']}", "trainer.num_train_epochs=2")
    made.stage(*words, "name=again")
    made.stage(*words, "name=other", "seed=1")
    first, again, other = (
        load_file(made.adapters / name / "adapter.safetensors") for name in ("a", "again", "other")
    )
    assert tiny.same(first, again)
    assert not tiny.same(first, other)


def test_overwriting_replaces_the_whole_artefact(copied):
    folder = copied.adapters / "b"
    (folder / "notes.txt").write_text("mine")
    words = ("stage=adapters", f"task={copied.files['b']}", "adapter.reduction_factor=8", "overwrite=true")
    copied.stage(*words)
    assert store.verify(folder).config["adapter"]["reduction_factor"] == 8
    assert not (folder / "notes.txt").exists()


def test_a_dry_run_writes_nothing(made, tmp_path, capsys):
    for words in (
        ("stage=adapters", f"task={made.files['a']}"),
        ("stage=fusion", f"adapters=[{made.adapters / 'a'}]", f"target={made.files['a']}"),
    ):
        tiny.stage(*words, *tiny.columns(), f"output_root={tmp_path / 'dry'}", "dry_run=true")
        assert "nothing was trained" in capsys.readouterr().out
    assert not (tmp_path / "dry").exists()


def test_a_run_whose_loss_is_no_number_leaves_no_artefact(made):
    with pytest.raises(PipelineError, match="NaN or infinite at step"):
        made.stage("stage=adapters", f"task={made.files['a']}", "name=hot", "trainer.learning_rate=1e30")
    assert not (made.adapters / "hot").exists()
