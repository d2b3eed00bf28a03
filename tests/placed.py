"""Adapters and fusions on random small models of every family: what the tests of sites share."""

import tiny

from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.sites import load_table
from fusion_pipeline.sites.table import all_tables

FAMILIES = [family for table in all_tables() for family in table.model_types]
PLACED = [(family, placement) for family in FAMILIES for placement in load_table(family).placements]


def with_adapter(family, placement, **values):
    model = tiny.adapted(family)
    model.add_adapter("one", tiny.bottleneck(placement=placement, **values))
    tiny.add_head(model)
    model.set_active("one", head="task")
    return model.eval()


def fused_model(family, placement, **spec):
    model = tiny.adapted(family)
    for n in range(3):
        model.add_adapter(f"a{n}", tiny.bottleneck(placement=placement, width=4 + n))
    model.add_fusion("f", AdapterFusionSpec(init_std=0.3, **spec), ["a0", "a1", "a2"])
    tiny.add_head(model)
    model.set_active(["a0", "a1", "a2"], fusion="f", head="task")
    return model
