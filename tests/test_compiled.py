"""torch.compile takes a whole forward as one graph, and changes no number, no gradient and no evaluation."""

import pytest
import tiny
import torch
from placed import fused_model, with_adapter

from fusion_pipeline import registry

LABELS = torch.tensor([0, 1, 1])


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def built(what):
    if what == "adapter":
        model = with_adapter("bert", "pfeiffer")
        model.train_only(adapters=["one"], heads=["task"])
    else:
        # Wider adapters than one another, dropout on the scores: nothing is left to a special case.
        model = fused_model("bert", "pfeiffer", dropout=0.1)
        model.train_only(fusion="f", heads=["task"])
    return model.train()


def whole(model):
    return torch.compile(model, backend="aot_eager", fullgraph=True)


def gradients(model, forward):
    model.zero_grad()
    torch.manual_seed(1)
    loss = forward(**tiny.inputs(model), labels=LABELS).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("what", ["adapter", "fusion"])
def test_a_compiled_training_forward_is_one_graph_with_the_same_loss_and_gradients(what):
    model = built(what)
    loss, plain = gradients(model, model)
    compiled_loss, compiled = gradients(model, whole(model))
    torch.testing.assert_close(compiled_loss, loss, rtol=0, atol=1e-6)
    assert plain.keys() == compiled.keys() == set(model.trained_state())
    for name, gradient in plain.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("values", [{"kind": "router"}, {"kind": "hierarchical", "outer": "router"}])
def test_a_fusion_that_keeps_things_between_calls_is_one_graph_in_training_too(values):
    model = built("adapter")
    for name in ("two", "three"):
        model.add_adapter(name, tiny.bottleneck())
    kind, options = values["kind"], {k: v for k, v in values.items() if k != "kind"}
    model.add_fusion("kept", registry.build("fusion", kind, **options), ["one", "two", "three"])
    model.set_active(["one", "two", "three"], fusion="kept", head="task")
    model.train_only(fusion="kept", heads=["task"])
    loss, plain = gradients(model, model.train())
    compiled_loss, compiled = gradients(model, whole(model))
    torch.testing.assert_close(compiled_loss, loss, rtol=0, atol=1e-6)
    assert plain.keys() == compiled.keys() == set(model.trained_state())
    for name, gradient in plain.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("kind", "values"), [("moa", {"top_k": 2}), ("hyper", {"width": 4, "tasks": ("other", "task")})]
)
def test_an_adapter_that_keeps_things_between_calls_is_one_graph_in_training_too(kind, values):
    model = built("adapter")
    model.add_adapter("kept", registry.build("adapter", kind, **values))
    tiny.shake(model.adapters["kept"], 0.3)
    model.set_active("kept", head="task")
    model.train_only(adapters=["kept"], heads=["task"])
    loss, plain = gradients(model, model.train())
    compiled_loss, compiled = gradients(model, whole(model))
    torch.testing.assert_close(compiled_loss, loss, rtol=0, atol=1e-6)
    for name, gradient in plain.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("what", ["adapter", "fusion"])
def test_a_compiled_evaluation_is_one_graph_with_the_same_logits(what):
    model = built(what).eval()
    with torch.no_grad():
        plain = model(**tiny.inputs(model)).logits
        compiled = whole(model)(**tiny.inputs(model)).logits
    torch.testing.assert_close(compiled, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("what", ["adapter", "fusion"])
def test_an_evaluation_after_compiled_steps_sees_the_weights_of_now(what):
    model = built(what)
    model.eval()
    with torch.no_grad():
        before = model(**tiny.inputs(model)).logits  # folds the weights of before
    model.train()
    compiled = whole(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, fused=True)
    for _ in range(2):
        gradients(model, compiled)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        after = model(**tiny.inputs(model)).logits
    with torch.enable_grad():
        unfolded = model(**tiny.inputs(model)).logits
    torch.testing.assert_close(after, unfolded.detach(), rtol=0, atol=1e-5)
    assert not torch.allclose(after, before, atol=1e-3)
