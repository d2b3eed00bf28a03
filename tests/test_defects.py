"""What goes wrong in AdapterHub's `adapters` 1.3.0 goes right here; each check also fails on a model made wrong.

Elsewhere:
weight decay on the value matrix, test_training (test_weight_decay_leaves_the_fusions_value_alone) and, against
that library's own run, test_adapterhub_training; resuming, test_resume; checkpoints with frozen adapters,
test_training_checkpoints; heads that are not in use, test_model_training (test_only_the_head_in_use_learns);
every layer's own norm, test_sites (the formulas by hand); fusions saved from bare models, test_adapterhub_heads
and test_adapterhub_refusals; heads `cb` and `cb2` in one file, test_adapterhub_heads.
"""

import json
import shutil
from dataclasses import asdict, replace

import fitting
import golden
import pytest
import recorded
import tiny
import torch
from fused_model import LABELS, fused, logits
from safetensors.torch import load_file

from fusion_pipeline import AdaptedModel, registry
from fusion_pipeline.artefacts import write_adapter, write_fusion
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.interop.adapterhub.exchange import write as export
from fusion_pipeline.interop.adapterhub.saving import save_head
from fusion_pipeline.training.weights import WeightTracker


def fails(check, *arguments):
    """The check does find what it is for."""
    with pytest.raises(AssertionError):
        check(*arguments)


# --- one forward, one step -------------------------------------------------------------------------------------


def assert_same_in_every_forward(model):
    first = logits(model)
    for train in (True, False, False):
        model.train(train)
        model(**tiny.inputs(model))
    assert torch.equal(logits(model.eval()), first)


def anneal(model):
    """That library's temperature: less with every forward, also in evaluation."""

    def colder(site, _inputs):
        site.spec = replace(site.spec, temperature=site.spec.temperature - 0.05)

    for _, site in model.fusions["mix"].items():
        site.register_forward_pre_hook(colder)
    return model


def test_a_temperature_is_the_same_in_every_forward_and_is_saved(tmp_path):
    model = fused(backbone={"dropout": False}, temperature=3.0)
    assert_same_in_every_forward(model)
    write_fusion(model, "mix", [], tmp_path, parents={}, tuned=False)
    saved = json.loads((tmp_path / "model.json").read_text())["fusion"]
    assert registry.build("fusion", saved["kind"], **saved["values"]).temperature == 3.0
    assert not torch.allclose(logits(fused(temperature=1.0)), logits(model))
    fails(assert_same_in_every_forward, anneal(fused(backbone={"dropout": False}, temperature=3.0)))


@pytest.mark.parametrize(("given", "wanted"), [(0.0, 0.0), (0.3, 0.3), (None, 0.1)])
def test_a_dropout_of_zero_is_zero_and_only_none_is_the_backbones(tmp_path, given, wanted):
    folder = golden.unpack("bert", "seq_bn", tmp_path)
    recorded.edit_config(folder / "fusion" / "adapter_fusion_config.json", dropout_prob=given)
    model = recorded.fused(folder, dropout=False)
    assert model.config.attention_probs_dropout_prob == 0.1
    model.train_only(fusion=recorded.FUSED)
    model.train()
    with torch.no_grad():
        one, other = (model(**golden.inputs("bert")).logits for _ in range(2))
    assert torch.equal(one, other) == (wanted == 0)
    for _, site in model.fusions[recorded.FUSED].items():
        assert site.spec.dropout == wanted


def assert_the_first_step_has_the_penalty(model, strength):
    """In the loss, and in the gradient of the very same step."""
    model.train_only(fusion="mix", heads=["task"])
    batch = {"labels": LABELS, **tiny.inputs(model)}
    plain = model.eval()(**batch).loss
    values = [site.value.weight for _, site in model.fusions["mix"].items()]
    plain_gradients = torch.autograd.grad(plain, values)
    model.training = True  # the flag alone: no dropout makes the two losses differ
    loss = model(**batch).loss
    gradients = torch.autograd.grad(loss, values)
    off = [torch.eye(len(value)) - value.detach() for value in values]
    wanted = strength * sum((each**2).sum() for each in off)
    torch.testing.assert_close(loss - plain, torch.as_tensor(wanted), rtol=1e-5, atol=1e-5)
    for found, own, each in zip(gradients, plain_gradients, off, strict=True):
        torch.testing.assert_close(found, own - 2 * strength * each, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_in_the_loss_and_in_the_gradients_of_its_own_step():
    assert_the_first_step_has_the_penalty(fused(regularization=0.5), 0.5)
    fails(assert_the_first_step_has_the_penalty, fused(regularization=0.0), 0.5)


def test_a_regularization_of_zero_is_none():
    model = fused(regularization=0.0)
    assert model.penalty() is None
    assert_the_first_step_has_the_penalty(model, 0.0)
    fails(assert_the_first_step_has_the_penalty, fused(regularization=0.01), 0.0)


def test_that_librarys_regularization_false_is_none(tmp_path):
    folder = golden.unpack("bert", "seq_bn", tmp_path)
    recorded.edit_config(folder / "fusion" / "adapter_fusion_config.json", regularization=False)
    assert recorded.fused(folder).penalty() is None
    recorded.assert_logits(recorded.fused(folder), "bert", "seq_bn", "fuse")


def of_twins(placement, **spec):
    """A fusion over one adapter twice, whose value is the identity: the adapter itself."""
    model = tiny.adapted()
    for name in ("one", "twin"):
        model.add_adapter(name, tiny.bottleneck(placement=placement))
        tiny.shake(model.adapters[name], 0.3, seed=1)
    model.add_fusion("mix", AdapterFusionSpec(init_std=0.3, value_off_diagonal=0.0, **spec), ["one", "twin"])
    tiny.add_head(model)
    tiny.shake(model.heads["task"], 0.5, seed=10)
    return model.eval()


def assert_fused_twins_are_the_one(model):
    model.set_active("one", head="task")
    alone = logits(model)
    model.set_active(["one", "twin"], fusion="mix")
    torch.testing.assert_close(logits(model), alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("placement", ["pfeiffer", "houlsby", "parallel"])
def test_a_fusion_adds_the_residual_once_wherever_its_adapters_are(placement):
    assert_fused_twins_are_the_one(of_twins(placement))
    fails(assert_fused_twins_are_the_one, of_twins(placement, doubled_residual=True))


def test_fusion_weights_are_seen_in_half_precision():
    model, wide = fused().to(torch.bfloat16), fused()
    tracker = WeightTracker()
    model.observe(tracker.see)
    out = model(**tiny.inputs(model))
    model.observe(None)
    assert out.fusion_weights is None
    with torch.no_grad():
        found = model(**tiny.inputs(model), output_fusion_weights=True).fusion_weights
        wanted = wide(**tiny.inputs(wide), output_fusion_weights=True).fusion_weights
    assert found.keys() == wanted.keys() == tracker.result()[""].keys()
    for site, weights in wanted.items():
        assert found[site].dtype == torch.bfloat16
        assert (found[site].float() - weights).abs().mean() < 0.03
        assert sum(tracker.result()[""][site]["weights"].values()) == pytest.approx(1, abs=0.01)
    seen = model.predict(["a lamp"], fusion_weights=True)[0].fusion_weights
    assert all(weights.dtype == "float32" for weights in seen.values())


# --- checkpoints ------------------------------------------------------------------------------------------------


def scramble(model):
    for part in (model.fusions, model.heads):
        tiny.shake(part, 30.0, seed=4)


@pytest.mark.parametrize("name", ["task", "one", "mix", "a-task+2"])
def test_the_best_checkpoint_brings_back_fusion_and_head_whatever_they_are_called(tmp_path, name):
    task = tiny.task_data(name)
    model = fitting.fused(task)
    best = {"metric_for_best_model": "loss", "greater_is_better": False, "save_total_limit": None}
    trainer = fitting.trainer_for(
        model, [task], tmp_path, fitting.At(6, scramble), num_train_epochs=2, **best
    )
    trainer.train()
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-3")
    kept, last = (load_file(tmp_path / f"checkpoint-{step}" / "trained.safetensors") for step in (3, 6))
    assert {key.split(".")[0] for key in kept} == {"fusions", "heads"}
    assert tiny.same(kept, fitting.state(model))
    assert not any(torch.equal(kept[key], last[key]) for key in kept)
    assert (model.active_fusion, model.active_head) == ("mix", name)


# --- files --------------------------------------------------------------------------------------------------------


def two_fusions():
    """Fusions over a, b and over a, b, c, and heads whose names begin alike, in one model."""
    model = tiny.adapted()
    for n, name in enumerate(recorded.NAMES):
        model.add_adapter(name, tiny.bottleneck(width=4))
        tiny.shake(model.adapters[name], 0.3, seed=n)
    for n, names in enumerate((("a", "b"), recorded.NAMES)):
        model.add_fusion(",".join(names), AdapterFusionSpec(), names)
        tiny.shake(model.fusions[",".join(names)], 0.3, seed=n)
    for n, name in enumerate(("cb", "cb2")):
        tiny.add_head(model, name)
        tiny.shake(model.heads[name], 0.5, seed=n)
    return model.eval()


def test_a_saved_fusion_is_that_fusion_alone(tmp_path):
    model = two_fusions()
    model.set_active(["a", "b"], fusion="a,b", head="cb")
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    write_fusion(model, "a,b", [], tmp_path / "ours", parents={}, tuned=False)
    assert tiny.same(load_file(tmp_path / "ours" / "fusion.safetensors"), tiny.snapshot(model.fusions["a,b"]))
    export(model, tmp_path / "theirs")
    assert {path.name for path in (tmp_path / "theirs").iterdir()} == {
        "a",
        "b",
        "a,b",
        "cb",
        "cb2",
        "adapter_setup.json",
    }
    saved = load_file(tmp_path / "theirs" / "a,b" / "model_adapter_fusion.safetensors")
    assert len(saved) == len(tiny.snapshot(model.fusions["a,b"]))
    assert all(".adapter_fusion_layer.a,b." in key for key in saved)


def test_a_saved_head_is_that_head_alone_and_comes_back_as_itself(tmp_path):
    model = two_fusions()
    for name in ("cb", "cb2"):
        task = replace(tiny.task_data(name).spec, name=name)
        (tmp_path / "ours" / name).mkdir(parents=True)
        write_adapter(model, "a", [task], tmp_path / "ours" / name)
        saved = load_file(tmp_path / "ours" / name / "heads.safetensors")
        assert tiny.same(
            {key.removeprefix(f"{name}/"): value for key, value in saved.items()},
            tiny.snapshot(model.heads[name]),
        )
        save_head(model, name, tmp_path / "theirs" / name)
        theirs = load_file(tmp_path / "theirs" / name / "model_head.safetensors")
        assert all(key.startswith(f"heads.{name}.") for key in theirs)
        other = AdaptedModel.from_adapterhub(model.info.spec, head=tmp_path / "theirs" / name)
        assert tiny.same(tiny.snapshot(other.heads[name]), tiny.snapshot(model.heads[name]))


def named_setup(folder, name):
    """A set-up whose fusion bears a name of its own, not its adapters' names with commas."""
    golden.unpack("bert", "seq_bn", folder)
    for part in recorded.NAMES:
        shutil.copytree(folder / part, folder / "setup" / part)
    place = shutil.copytree(folder / "fusion", folder / "setup" / name)
    recorded.edit_json(place / "adapter_fusion_config.json", name=name)
    weights = place / "model_adapter_fusion.safetensors"
    recorded.rename_tensors(weights, f"layer.{recorded.FUSED}.", f"layer.{name}.")
    return folder / "setup"


@pytest.mark.parametrize("name", ["my_fusion", "a,b", "output"])
def test_a_setup_with_a_fusion_of_a_custom_name_is_read_again(tmp_path, name):
    setup = named_setup(tmp_path, name)
    model = recorded.fused(tmp_path, fusion=f"setup/{name}")
    assert model.active_fusion == name
    recorded.assert_logits(model, "bert", "seq_bn", "fuse")
    words = (f"output_root={tmp_path / 'out'}", f"backbone.path={tmp_path / 'base'}")
    tiny.stage("stage=import", f"path={setup}", f"head_path={tmp_path / 'head'}", *words)
    again = AdaptedModel.load(tmp_path / "out" / "fusion" / "a+b+c")
    assert again.active_adapters == recorded.NAMES
    recorded.assert_logits(again, "bert", "seq_bn", "fuse")


def test_the_settings_of_a_saved_fusion_are_all_there(tmp_path):
    values = {"temperature": 2.0, "dropout": 0.2, "regularization": 0.3, "query_before_norm": True}
    model = fused(**values)
    write_fusion(model, "mix", [], tmp_path, parents={}, tuned=False)
    saved = json.loads((tmp_path / "model.json").read_text())["fusion"]
    assert saved["adapters"] == []
    built = registry.build("fusion", saved["kind"], **saved["values"])
    assert asdict(built) == asdict(AdapterFusionSpec(**values))
