"""The model in a person's own code: what is active, how it is padded, copied and moved."""

import copy

import numpy as np
import pytest
import tiny
import torch
from fused_model import LABELS, NAMES, fused, logits

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_padding_changes_neither_logits_nor_weights(family, pooling):
    model = fused(backbone={"family": family, "pooling": pooling})
    with torch.no_grad():
        short = model(**tiny.inputs(model), output_fusion_weights=True)
        padded = model(**tiny.inputs(model, pad_to=90), output_fusion_weights=True)
        alone = model(**tiny.inputs(model, tiny.TEXTS[:1])).logits
    torch.testing.assert_close(padded.logits, short.logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone, short.logits[:1], rtol=0, atol=1e-5)
    assert not torch.allclose(short.logits[0], short.logits[1])
    mask = tiny.inputs(model)["attention_mask"].bool()
    for site, weights in short.fusion_weights.items():
        width = weights.shape[1]
        torch.testing.assert_close(padded.fusion_weights[site][:, :width][mask], weights[mask])


def test_a_subset_of_the_adapters_can_be_asked_and_all_are_back_afterwards():
    model = fused()
    everything = logits(model)
    model.set_active(["one", "three"], fusion="mix")
    of_two = logits(model, output_fusion_weights=True)
    model.set_active(["two"], fusion="mix")
    of_one = logits(model)
    assert not torch.allclose(everything, of_two)
    assert not torch.allclose(of_one, of_two)
    model.set_active(NAMES, fusion="mix")
    assert torch.equal(logits(model), everything)


def test_predicting_with_a_subset_leaves_the_model_as_it_was():
    model = fused()
    before = logits(model)
    asked = model.predict(tiny.TEXTS, adapters=["three", "one"], fusion_weights=True)
    assert asked[0].adapters == ("three", "one")
    for weights in asked[0].fusion_weights.values():
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    alone = model.predict(tiny.TEXTS, adapters=["two"], fusion_weights=True)
    assert all((w == 1).all() for w in alone[0].fusion_weights.values())
    assert model.active_adapters == NAMES
    assert torch.equal(logits(model), before)
    with pytest.raises(PipelineError, match="no adapter 'tow'"):
        model.predict(tiny.TEXTS, adapters=["tow"])
    assert model.active_adapters == NAMES
    assert torch.equal(logits(model), before)


def test_what_cannot_be_active_is_refused():
    model = fused()
    before = logits(model)
    for wrong, message in (
        ({"adapters": ["one", "two"]}, "2 adapters need a fusion"),
        ({"adapters": ["one", "one"], "fusion": "mix"}, "named twice"),
        ({"adapters": [], "fusion": "mix"}, "at least one adapter"),
        ({"adapters": "once"}, "no adapter 'once'"),
        ({"adapters": ["one"], "fusion": "mxi"}, "no fusion 'mxi'"),
        ({"adapters": "one", "head": "taks"}, "no head 'taks'"),
    ):
        with pytest.raises(PipelineError, match=message):
            model.set_active(**wrong)
        assert torch.equal(logits(model), before), "a refused choice changed the model"


def test_a_name_can_be_given_once_and_be_any_word():
    model = tiny.adapted()
    for name in ("type", "forward", "weight", "a.b", "training"):
        model.add_adapter(name, tiny.bottleneck())
        tiny.add_head(model, name)
    assert model.adapters.names() == ["type", "forward", "weight", "a.b", "training"]
    model.set_active("a.b", head="forward")
    assert logits(model).shape == (3, 2)
    with pytest.raises(PipelineError, match="already adapter 'type'"):
        model.add_adapter("type", tiny.bottleneck())


def test_adapters_of_different_placements_cannot_be_fused():
    model = tiny.adapted()
    model.add_adapter("one", tiny.bottleneck())
    model.add_adapter("two", tiny.bottleneck(placement="houlsby"))
    with pytest.raises(PipelineError, match="do not share their sites") as caught:
        model.add_fusion("mix", AdapterFusionSpec(), ["one", "two"])
    assert "attention_inner" in str(caught.value)


def test_adapters_that_skip_other_layers_are_fused_where_they_are():
    model = tiny.adapted()
    model.add_adapter("low", tiny.bottleneck(skip_layers=(1,)))
    model.add_adapter("high", tiny.bottleneck(skip_layers=(0,)))
    model.add_fusion("mix", AdapterFusionSpec(), ["low", "high"])
    tiny.add_head(model)
    model.set_active(["low", "high"], fusion="mix", head="task")
    model.eval()
    with torch.no_grad():
        weights = model(**tiny.inputs(model), output_fusion_weights=True).fusion_weights
    assert {site: value.shape[-1] for site, value in weights.items()} == {"ffn.0": 1, "ffn.1": 1}


def test_a_copy_runs_its_own_weights():
    model = fused()
    twin = copy.deepcopy(model)
    before = logits(model)
    assert torch.equal(logits(twin), before)
    tiny.shake(twin.adapters, 0.5, seed=20)
    assert torch.equal(logits(model), before)
    changed = logits(twin)
    assert not torch.allclose(changed, before)
    tiny.shake(model.adapters, 0.5, seed=21)
    assert torch.equal(logits(twin), changed)
    assert twin.active_adapters == model.active_adapters == NAMES


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_active_model_can_be_moved_to_another_dtype(dtype):
    model = fused()
    wanted = logits(model)
    found = logits(model.to(dtype))
    # Logits and losses are never half precision.
    assert found.dtype == (torch.float32 if dtype == torch.bfloat16 else dtype)
    torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.25 if dtype == torch.bfloat16 else 1e-5)
    model.float()


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_adapters_in_float32_work_on_a_backbone_of_another_dtype(dtype):
    wanted = logits(fused())
    model = fused(backbone={"dtype": dtype})
    assert next(model.backbone.parameters()).dtype == getattr(torch, dtype)
    assert next(model.adapters.parameters()).dtype == torch.float32
    torch.testing.assert_close(logits(model), wanted, rtol=0, atol=0.25 if dtype == "bfloat16" else 1e-5)
    model.train_only(fusion="mix", heads=["task"])
    model.train()
    model(**tiny.inputs(model), labels=LABELS).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_autocast_gives_nearly_the_same():
    model = fused()
    wanted = logits(model)
    with torch.autocast("cpu", torch.bfloat16):
        folded = logits(model)
        with_gradients = model(**tiny.inputs(model)).logits
    for found in (folded, with_gradients):
        assert not torch.equal(found, wanted)
        torch.testing.assert_close(found.float(), wanted, rtol=0, atol=0.25)
