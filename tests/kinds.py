"""Every adapter kind that is installed, on small models of two families: what the tests of kinds share."""

import tiny
import torch

from fusion_pipeline import registry
from fusion_pipeline.components import PerSite

KINDS = registry.options("adapter")
FAMILIES = ("bert", "gpt2")
EACH = [(family, kind) for family in FAMILIES for kind in KINDS]
LABELS = torch.tensor([0, 1, 1])


def spec_of(kind, **values):
    return registry.build("adapter", kind, **values)


def with_kind(family, kind, *, std=0.3, name="one", **values):
    """A model whose adapter of that kind matters (or is as it starts, with `std` None)."""
    model = tiny.adapted(family)
    add_kind(model, kind, name, std=std, **values)
    tiny.add_head(model, dropout=0.0)
    model.set_active(name, head="task")
    return model.eval()


def add_kind(model, kind, name, *, std=0.3, seed=0, **values):
    model.add_adapter(name, spec_of(kind, **values))
    if std is not None:
        tiny.shake(model.adapters[name], std, seed=seed)


def part(model, name="one"):
    found = model.adapters[name]
    assert isinstance(found, PerSite)
    return found


def outputs(model, **options):
    with torch.no_grad():
        return model(**tiny.inputs(model), output_hidden_states=True, **options)


def gradients(model, seed=3):
    model.zero_grad()
    torch.manual_seed(seed)
    model(**tiny.inputs(model), labels=LABELS).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
