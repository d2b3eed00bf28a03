"""Artefacts that are damaged, gone, or of something else are refused."""

import hashlib
import json
import shutil

import pytest
import tiny
from safetensors.torch import load_file, save_file

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError

pytest_plugins = ("finished",)


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


def test_adapters_at_different_sites_are_refused_before_training(made):
    made.stage("stage=adapters", f"task={made.files['a']}", "name=inner", "adapter.placement=houlsby")
    refused(
        lambda: made.stage("stage=fusion", "adapters=[a,inner]", f"target={made.files['a']}", "name=x"),
        match="do not share their sites",
    )
    assert not (made.out / "fusion" / "x").exists()
