"""A model whose fusion, adapters and head all say something: what the tests of the model share."""

import tiny
import torch

from fusion_pipeline.fusion import AdapterFusionSpec

NAMES = ("one", "two", "three")
LABELS = torch.tensor([0, 1, 1])


def fused(names=NAMES, *, backbone=None, **spec):
    """A model with a fusion over adapters of different widths, and a head."""
    model = tiny.adapted(**(backbone or {}))
    for n, name in enumerate(names):
        model.add_adapter(name, tiny.bottleneck(width=4 + n, dropout=0.3))
        tiny.shake(model.adapters[name], 0.3, seed=n)
    model.add_fusion("mix", AdapterFusionSpec(**spec), names)
    tiny.shake(model.fusions["mix"], 0.3, seed=9)
    tiny.add_head(model)
    # Heads start near zero; these say something.
    tiny.shake(model.heads["task"], 0.5, seed=10)
    model.set_active(names, fusion="mix", head="task")
    return model.eval()


def logits(model, **options):
    with torch.no_grad():
        return model(**tiny.inputs(model), **options).logits
