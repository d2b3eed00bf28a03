"""An adapter's modules at all of its sites, with what they have in common."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from fusion_pipeline.adapters.spec import AdapterSpec
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError

Widths = Mapping[str, tuple[int, int]]
"""(D_in, D_out) by site, `ffn.3` and so on."""


def build_adapter(spec: AdapterSpec, widths: Widths) -> PerSite:
    """The untrained adapter, one module a site; refuses common parts that do not fit every site."""
    modules = {key: spec.build(*dims) for key, dims in widths.items()}
    if len({_common_shapes(module) for module in modules.values()}) > 1:
        listed = ", ".join(f"{key} {d_in}→{d_out}" for key, (d_in, d_out) in widths.items())
        raise PipelineError(
            f"what the sites of '{spec.kind}' have in common needs equal widths, and there are: {listed}",
            where="adapter.placement",
            hint="pfeiffer, houlsby or parallel",
        )
    return PerSite(spec, modules)


def count_parameters(spec: AdapterSpec, widths: Widths) -> int:
    """Parameters of the adapter over all its sites; what they have in common counts once."""
    own = sum(spec.parameter_count(*dims) for dims in widths.values())
    return own + spec.common_count(*next(iter(widths.values())))


def _common_shapes(module: nn.Module) -> tuple[object, ...]:
    parts = [getattr(module, name) for name in getattr(module, "common", ())]
    return tuple(tuple(p.shape) for part in parts for p in part.parameters())
