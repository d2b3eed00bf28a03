"""Gradient checkpointing recomputes backbones with their adapters and fusions, and changes no gradient."""

from contextlib import contextmanager

import pytest
import tiny
import torch
from placed import FAMILIES as ALL
from placed import PLACED as ALL_PLACED
from placed import fused_model, with_adapter

from fusion_pipeline.errors import PipelineError

CANNOT = ("albert", "mpnet")  # transformers has no recomputation for them
FAMILIES = [family for family in ALL if family not in CANNOT]
PLACED = [(family, placement) for family, placement in ALL_PLACED if family not in CANNOT]


@pytest.mark.parametrize("family", CANNOT)
def test_a_family_that_cannot_be_recomputed_is_refused(family):
    with pytest.raises(PipelineError, match="cannot recompute") as caught:
        tiny.adapted(family).activation_checkpointing_enable()
    assert caught.value.where == "trainer.gradient_checkpointing"


def gradients_of(model, seed=3):
    model.zero_grad()
    torch.manual_seed(seed)
    loss = model(**tiny.inputs(model), labels=torch.tensor([0, 1, 1])).loss
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@contextmanager
def counted_layers(model):
    calls = []
    # Inside a layer: transformers recomputes a layer's forward, not its hooks. The last one: where adapters
    # come after a layer, nothing in the first needs a gradient.
    inside = next(m for m in list(model.table.layer_list(model.backbone)[-1].modules())[1:] if m._parameters)
    handle = inside.register_forward_pre_hook(lambda _m, _a: calls.append(1))
    yield calls
    handle.remove()


@pytest.mark.parametrize("spec", [{}, {"query_before_norm": True, "dropout": 0.2}], ids=["plain", "captures"])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_changes_no_gradient_of_a_fusion(family, spec):
    model = fused_model(family, "pfeiffer", **spec)
    model.train_only(fusion="f", adapters=["a1"], heads=["task"])
    model.train()
    plain = gradients_of(model)
    model.activation_checkpointing_enable()
    with counted_layers(model) as calls:
        recomputed = gradients_of(model)
    assert len(calls) == 2, "nothing was recomputed"
    assert plain.keys() == set(model.trained_state())
    assert tiny.same(plain, recomputed)


@pytest.mark.parametrize(("family", "placement"), PLACED)
def test_gradient_checkpointing_changes_no_gradient_of_an_adapter(family, placement):
    model = with_adapter(family, placement, dropout=0.1)
    model.train_only(adapters=["one"], heads=["task"])
    model.train()
    plain = gradients_of(model)
    model.activation_checkpointing_enable()
    assert tiny.same(plain, gradients_of(model))


def test_only_every_second_layer_is_recomputed_where_that_is_asked(recwarn):
    model = with_adapter("bert", "pfeiffer")
    model.gradient_checkpointing_enable(every_n_layers=2)
    layers = model.table.layer_list(model.backbone)
    assert sorted(layer.gradient_checkpointing for layer in layers) == [False, True]
    model.gradient_checkpointing_enable()
    assert all(layer.gradient_checkpointing for layer in layers)
    assert not [w for w in recwarn if "deprecated" in str(w.message)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backbone_without_dropout_is_recomputed_too_and_stays_without_it(family):
    model = tiny.adapted(family, dropout=False)
    model.add_adapter("one", tiny.bottleneck())
    tiny.add_head(model, dropout=0.0)
    model.set_active("one", head="task")
    model.train_only(adapters=["one"], heads=["task"])
    model.train()
    plain = gradients_of(model)
    model.activation_checkpointing_enable()
    model.train()
    with counted_layers(model) as calls:
        assert tiny.same(plain, gradients_of(model, seed=4))
    assert len(calls) == 2, "nothing was recomputed"
    assert not any(m.training for m in model.eval().modules())
