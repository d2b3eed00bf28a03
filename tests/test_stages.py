"""Whole runs on data files of one's own: what they leave, that it comes back the same, and what is refused."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import tiny
import yaml
from safetensors.torch import load_file, save_file

from fusion_pipeline import AdaptedModel, store
from fusion_pipeline.errors import PipelineError

SIZES = {"a": 61, "b": 47}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two adapters and a fusion of them, made once: {root, files, fusion}."""
    root = tmp_path_factory.mktemp("stages")
    files = {name: tiny.write_csv(root / f"{name}.csv", tiny.rows(size)) for name, size in SIZES.items()}
    out = root / "out"
    stage = Stage(out)
    for file in files.values():
        stage("stage=adapters", f"task={file}", "trainer.num_train_epochs=2")
    stage("stage=fusion", "adapters=[a,b]", f"target={files['a']}", "trainer.num_train_epochs=2")
    return Made(out, files)


class Stage:
    """Runs stages that leave their things in one folder."""

    def __init__(self, out):
        self.out = out

    def __call__(self, *words, columns=True):
        named = tiny.columns() if columns else ()
        tiny.stage(f"output_root={self.out}", *named, *words)


class Made:
    def __init__(self, out, files):
        self.out, self.files = out, files
        self.fusion, self.adapters = out / "fusion" / "a", out / "adapters"
        self.stage = Stage(out)


@pytest.fixture
def copied(made, tmp_path):
    """A copy of everything, to be damaged."""
    shutil.copytree(made.out, tmp_path / "out")
    return Made(tmp_path / "out", made.files)


def said(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def probabilities(model, rows, **options):
    return [p.probabilities for p in model.predict([row["text"] for row in rows], **options)]


# --- what a run leaves ----------------------------------------------------------------------------------


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
        assert sum(metrics["examples"].values()) == SIZES["b" if folder.name == "b" else "a"]
        assert metrics["epochs"] == 2
        assert metrics["world_size"] == 1
        right = [row["prediction"] == row["label"] for row in said(folder)]
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


# --- it comes back the same -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["adapter", "fusion"])
def test_a_loaded_model_predicts_what_the_run_wrote(made, kind):
    folder = made.fusion if kind == "fusion" else made.adapters / "a"
    model = AdaptedModel.load(folder)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    rows = said(folder)
    assert len(rows) == tiny.metrics(folder)["examples"]["test"]
    for found, row in zip(probabilities(model, rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_a_loaded_fusion_can_be_asked_with_some_of_its_adapters(made):
    rows = said(made.fusion)
    full, alone = AdaptedModel.load(made.fusion), AdaptedModel.load(made.fusion, adapters=["b"])
    assert alone.active_adapters == ("b",)
    assert probabilities(alone, rows) != probabilities(full, rows)
    assert probabilities(full, rows, adapters=["b"]) == probabilities(alone, rows)
    with pytest.raises(PipelineError, match="no adapter 'bb' here"):
        AdaptedModel.load(made.fusion, adapters=["bb"])


def test_a_saved_adapter_can_be_added_to_a_model_of_ones_own(made):
    model = tiny.adapted()
    assert model.load_adapter(made.adapters / "a") == "a"
    assert model.load_adapter(made.adapters / "b", "other") == "other"
    assert model.adapters.names() == ["a", "other"]
    model.set_active("a", head="a")
    rows = said(made.adapters / "a")
    for found, row in zip(probabilities(model, rows), rows, strict=True):
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
    for found, row in zip(probabilities(model, said(folder)), said(folder), strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_adapters_from_elsewhere_travel_with_the_fusion(made, tmp_path):
    elsewhere = tmp_path / "theirs" / "b"
    shutil.copytree(made.adapters / "b", elsewhere)
    made.stage("stage=fusion", f"adapters=[a,{elsewhere}]", f"target={made.files['b']}", "name=mixed")
    folder = made.out / "fusion" / "mixed"
    shutil.rmtree(tmp_path / "theirs")
    assert [path.name for path in (folder / "parents").iterdir()] == ["b"]
    rows = said(folder)
    for found, row in zip(probabilities(AdaptedModel.load(folder), rows), rows, strict=True):
        assert found == pytest.approx(row["probabilities"], abs=2e-6)


def test_several_targets_make_one_fusion_with_a_head_each(made):
    targets = f"target=[{made.files['a']},{made.files['b']}]"
    made.stage("stage=fusion", "adapters=[a,b]", targets)
    folder = made.out / "fusion" / "a+b"
    test = tiny.metrics(folder)["test"]
    assert {"a/accuracy", "b/accuracy", "score"} <= set(test)
    rows = said(folder)
    for task in ("a", "b"):
        own = [row for row in rows if row["task"] == task]
        assert np.mean([r["prediction"] == r["label"] for r in own]) == pytest.approx(
            test[f"{task}/accuracy"]
        )
        found = probabilities(AdaptedModel.load(folder), own, task=task)
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
    rows = said(folder)
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
    rows = said(made.fusion)
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


# --- names and repeats ------------------------------------------------------------------------------------


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


# --- what is refused --------------------------------------------------------------------------------------


def refused(run, *, match):
    with pytest.raises(PipelineError, match=match):
        run()


def test_an_artefact_of_another_backbone_is_refused_by_fingerprint(made):
    other = tiny.adapted("roberta")
    refused(lambda: other.load_adapter(made.adapters / "a"), match="trained on another backbone")
    refused(
        lambda: made.stage(
            "stage=fusion", "adapters=[a,b]", f"target={made.files['a']}", "name=x", "backbone.random=roberta"
        ),
        match="trained on another backbone",
    )
    same_family = tiny.adapted()
    tiny.shake(same_family.backbone, 0.02)
    folder = made.out / "elsewhere"
    same_family.backbone.save_pretrained(folder)
    same_family.info.tokenizer.save_pretrained(folder)
    refused(
        lambda: AdaptedModel.from_backbone(folder).load_adapter(made.adapters / "a"),
        match="trained on another backbone",
    )


def test_the_same_weights_in_a_folder_are_the_same_backbone(made, tmp_path):
    original = tiny.adapted()
    original.backbone.save_pretrained(tmp_path / "saved")
    original.info.tokenizer.save_pretrained(tmp_path / "saved")
    model = AdaptedModel.from_backbone(tmp_path / "saved")
    assert model.load_adapter(made.adapters / "a") == "a"


@pytest.mark.parametrize("where", ["fusion", "parent", "head"])
@pytest.mark.parametrize("damage", ["alter", "cut", "remove"])
def test_damaged_weights_are_refused(copied, where, damage):
    path = {
        "fusion": copied.fusion / "fusion.safetensors",
        "parent": copied.adapters / "b" / "adapter.safetensors",
        "head": copied.fusion / "heads.safetensors",
    }[where]
    content = bytearray(path.read_bytes())
    if damage == "alter":
        content[-3] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-100])
    else:
        path.unlink()
    refused(lambda: AdaptedModel.load(copied.fusion), match=r"safetensors (was altered or cut|is missing)")


def test_a_parent_that_is_gone_or_another_is_named(copied):
    folder = copied.adapters / "b"
    shutil.rmtree(folder)
    refused(lambda: AdaptedModel.load(copied.fusion), match="needs the adapter 'b', which is gone")
    # A whole and proper adapter of that name, but another one.
    copied.stage("stage=adapters", f"task={copied.files['b']}", "seed=5")
    refused(lambda: AdaptedModel.load(copied.fusion), match="'b' is not the one this fusion was trained over")
    for stage in ("evaluate", "predict"):
        words = (f"stage={stage}", f"run={copied.fusion}", "text=hello" if stage == "predict" else "seed=0")
        refused(lambda w=words: copied.stage(*w, columns=False), match="trained over")


def test_weights_that_do_not_fit_are_named_one_by_one(copied):
    path = copied.adapters / "a" / "adapter.safetensors"
    tensors = load_file(path)
    gone = sorted(tensors)[0]
    save_file({**{k: v for k, v in tensors.items() if k != gone}, "ffn.9.up.bias": tensors[gone]}, path)
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["files"]["adapter.safetensors"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PipelineError) as caught:
        AdaptedModel.load(path.parent)
    assert f"missing: {gone}" in caught.value.what
    assert "unexpected: ffn.9.up.bias" in caught.value.what


def test_the_wrong_kind_of_folder_is_refused(made):
    refused(
        lambda: made.stage(
            "stage=fusion", f"adapters=[{made.fusion}]", f"target={made.files['a']}", "name=x"
        ),
        match="this is a fusion, and an adapter is needed",
    )
    refused(
        lambda: made.stage("stage=fusion", "adapters=[a,bb]", f"target={made.files['a']}", "name=x"),
        match=r"(?s)no artefact 'bb'.*train it first",
    )
    refused(
        lambda: made.stage("stage=fusion", "adapters=[a]", f"target=[{made.files['a']},{made.files['a']}]"),
        match="'a'|twice",
    )


def test_a_placement_without_that_tap_is_refused_before_training(made):
    words = ("stage=adapters", f"task={made.files['a']}", "name=inner", "adapter.placement=houlsby")
    made.stage(*words)
    refused(
        lambda: made.stage(
            "stage=fusion",
            "adapters=[inner]",
            f"target={made.files['a']}",
            "name=x",
            "fusion.query_before_norm=true",
        ),
        match="asks for the sublayer tensor",
    )
    refused(
        lambda: made.stage("stage=fusion", "adapters=[a,inner]", f"target={made.files['a']}", "name=x"),
        match="do not share their sites",
    )
    assert not (made.out / "fusion" / "x").exists()
