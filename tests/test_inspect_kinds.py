"""Every task type, several targets, mixed adapters, shared layers, groups, and a target of known composition."""

import json

import numpy as np
import pytest
import test_type_choices
import test_type_labels
import test_type_spans
import test_type_tokens
import tiny
import torch
import typed
from inspected import looked

from fusion_pipeline import AdaptedModel
from fusion_pipeline.tasks.embedded import deciders
from fusion_pipeline.training.batches import Collator, Examples
from fusion_pipeline.training.encoding import encode_task

pytest_plugins = ("loud",)

TYPES = {
    "choices": (test_type_choices, ("right choice", "other choices")),
    "labels": (test_type_labels, ("x", "y", "z")),
    "spans": (test_type_spans, ("answer", "all else")),
    "tokens": (test_type_tokens, ("O", "B-x", "I-x")),
}


def belongs(name, encoded, i, sequence, tokens):
    """Which tokens (T, P) of a sequence belong to which part, told from the labels."""
    label, at = encoded.label(i), np.arange(tokens)
    if name == "choices":
        return np.tile([sequence == label, sequence != label], (tokens, 1))
    if name == "labels":
        return np.tile(label > 0, (tokens, 1))
    if name == "tokens":
        return np.stack([label == tag for tag in range(3)], axis=1)
    inside = (at >= label[0]) & (at <= label[1])
    return np.stack([inside, ~inside], axis=1)


@pytest.mark.parametrize("name", TYPES)
def test_weights_by_part_of_every_type(loud, tmp_path, name):
    module, parts = TYPES[name]
    folder = typed.folder(tmp_path / name, module.rows(), **module.CARD)
    words = ("adapters=[a,b]", f"target={folder}", "trainer.max_steps=1", "fusion=linear")
    tiny.stage("stage=fusion", f"output_root={loud.out}", *words)
    found = looked(loud, loud.out / "fusion" / name)
    told = found["targets"][name]
    model, data = AdaptedModel.load(loud.out / "fusion" / name), typed.load(folder)
    encoded = encode_task(data, model.info, None)["validation"]
    examples, collate, seen = Examples([encoded]), Collator(pad_id=0), []
    for i in range(len(encoded)):
        batch = collate([examples[(0, i, True)]])
        with torch.no_grad():
            weights = model(**batch, output_fusion_weights=True).fusion_weights["ffn.1"]
        for sequence, (real, values) in enumerate(zip(batch["attention_mask"].bool(), weights, strict=True)):
            count = int(real.sum())
            seen.append((belongs(name, encoded, i, sequence, count), values[:count].numpy()))
    member, values = (np.concatenate(side) for side in zip(*seen, strict=True))
    for p, part in enumerate(parts):
        if not member[:, p].any():
            assert part not in told["facets"]["label"]
            continue
        mine = told["facets"]["label"][part]
        assert mine["tokens"] == member[:, p].sum()
        assert list(mine["sites"]["ffn.1"].values()) == pytest.approx(values[member[:, p]].mean(0), abs=1e-5)
    assert told["effects"]["all"]["metric"] == pytest.approx(
        tiny.metrics(loud.out / "fusion" / name)["validation"][data.spec.metric]
    )
    assert told["effects"]["none"]["worse"] + told["effects"]["none"]["better"] <= len(encoded)
    assert sum(len(one["tokens"]) for one in found["sentences"]) > 0


def test_values_are_told_apart_by_thirds(loud, tmp_path):
    rows = [{"text": f"{'x' * (n % 7)} {n}", "label": n / 10} for n in range(60)]
    folder = typed.folder(tmp_path / "score", rows, task_type="regression")
    words = ("adapters=[a,b]", f"target={folder}", "trainer.max_steps=1", "fusion=scalearn")
    tiny.stage("stage=fusion", f"output_root={loud.out}", *words)
    told = looked(loud, loud.out / "fusion" / "score", "inspect.split=train")["targets"]["score"]
    assert [name.split()[0] for name in told["facets"]["label"]] == ["low", "middle", "high"]
    without = told["effects"]["without"]["a"]
    assert without["worse"] + without["better"] > 0
    assert np.isfinite([without["low"], without["high"]]).all()


def test_several_targets_share_the_fusion_and_have_their_own_heads(loud):
    both = f"target=[{loud.files['a']},{loud.files['b']}]"
    loud.stage("stage=fusion", "adapters=[a,b]", both, "name=both", "trainer.max_steps=1")
    found = looked(loud, loud.out / "fusion" / "both", "inspect.pictures=true")
    assert list(found["targets"]) == ["a", "b"]
    scores = tiny.metrics(loud.out / "fusion" / "both")["validation"]
    for task, told in found["targets"].items():
        assert told["effects"]["all"]["metric"] == pytest.approx(scores[f"{task}/accuracy"])
        assert told["effects"]["all"]["loss"] == pytest.approx(scores[f"{task}/loss"])
    assert {one["title"].split(",")[0] for one in found["sentences"]} == {"a", "b"}


def test_adapters_of_other_kinds_and_with_fewer_sites(loud):
    words = (f"task={loud.files['b']}", "name=c", "adapter=moa", "adapter.skip_layers=[0]")
    loud.stage("stage=adapters", *words)
    loud.stage("stage=fusion", "adapters=[a,c]", f"target={loud.files['a']}", "name=mixed", "fusion=linear")
    found = looked(loud, loud.out / "fusion" / "mixed", "inspect.pictures=true")
    told = found["targets"]["a"]
    assert list(told["weights"]["ffn.0"]["weights"]) == ["a"]
    assert told["weights"]["ffn.0"]["normalised_entropy"] is None
    one, two = (told["weights"][f"ffn.{n}"]["weights"] for n in (0, 1))
    assert told["mean"]["c"] == pytest.approx(two["c"] / 2)
    assert told["mean"]["a"] == pytest.approx((one["a"] + two["a"]) / 2)
    assert found["redundancy"]["sites"]["ffn.0"]["adapters"] == ["a"]
    assert found["redundancy"]["mean"][0][1] == found["redundancy"]["sites"]["ffn.1"]["cka"][0][1]
    assert set(found["sentences"][0]["names"]["ffn.0"]) == {"a"}


def test_each_pass_of_a_shared_layer_is_a_site(tmp_path, loud):
    root = (f"output_root={tmp_path}", "backbone.random=albert", *tiny.columns())
    for name, file in loud.files.items():
        tiny.stage("stage=adapters", f"task={file}", *root, f"name={name}")
    tiny.stage("stage=fusion", "adapters=[a,b]", f"target={loud.files['a']}", *root, "trainer.max_steps=1")
    tiny.stage(
        "stage=inspect", f"run={tmp_path}/fusion/a", f"output_root={tmp_path}", "inspect.pictures=false"
    )
    found = json.loads((tmp_path / "inspect" / "a" / "inspect.json").read_text())
    sites = list(found["targets"]["a"]["weights"])
    assert set(sites) == {f"ffn.{layer}#{number}" for layer in (0, 1) for number in (0, 1)}
    assert list(found["redundancy"]["sites"]) == sites
    assert list(found["sentences"][0]["weights"]) == sites


def test_groups_are_left_out_and_tried_alone_too(loud):
    words = (f"task={loud.files['b']}", "name=d")
    loud.stage("stage=adapters", *words)
    groups = "fusion.groups={g: [a, b], h: [d]}"
    words = ("adapters=[a,b,d]", f"target={loud.files['a']}", "name=grouped", "trainer.max_steps=1")
    loud.stage("stage=fusion", *words, "fusion=hierarchical", groups)
    found = looked(loud, loud.out / "fusion" / "grouped")
    assert found["groups"] == {"g": ["a", "b"]}
    effects = found["targets"]["a"]["effects"]
    assert effects["without"]["group g"]["loss"] == pytest.approx(effects["alone"]["d"]["loss"])
    assert effects["alone"]["group g"]["loss"] == pytest.approx(effects["without"]["d"]["loss"])


def test_one_adapter_alone_cannot_be_left_out(loud):
    words = ("adapters=[a]", f"target={loud.files['a']}", "name=single", "trainer.max_steps=1")
    loud.stage("stage=fusion", *words)
    found = looked(loud, loud.out / "fusion" / "single", "inspect.pictures=true")
    assert "without" not in found["targets"]["a"]["effects"]
    assert found["redundancy"] is None
    assert "the only one" in (loud.out / "inspect" / "single" / "inspect.md").read_text()


def test_a_composed_target_is_told_apart_by_what_decides(tmp_path):
    root = (f"output_root={tmp_path}", "trainer.max_steps=1")
    for task in ("sentiment", "nli"):
        tiny.stage("stage=adapters", f"task={task}", *root, "data.max_train=40")
    tiny.stage("stage=fusion", "adapters=[sentiment,nli]", "target=review_check", *root, "data.max_train=40")
    quick = ("inspect.pictures=false", "inspect.tokens=0", "inspect.resamples=100")
    tiny.stage("stage=inspect", f"run={tmp_path}/fusion/review_check", f"output_root={tmp_path}", *quick)
    found = json.loads((tmp_path / "inspect" / "review_check" / "inspect.json").read_text())
    told = found["targets"]["review_check"]
    wanted = deciders("review_check")["validation"]
    shown = {part: one["examples"] for part, one in told["effects"]["facets"]["decided by"].items()}
    assert shown == {name: wanted.count(name) for name in ("sentiment", "nli", "paraphrase")}
    assert found["redundancy"] is None
    whole, parts = told["effects"]["all"]["metric"], told["effects"]["facets"]["decided by"].values()
    assert sum(p["all"] * p["examples"] for p in parts) / len(wanted) == pytest.approx(whole)
