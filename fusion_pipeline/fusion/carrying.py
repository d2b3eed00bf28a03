"""A fusion's weights taken over into one of the same settings over other adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion.per_adapter import PerAdapter


@torch.no_grad()
def carry(former: nn.Module, fresh: nn.Module) -> None:
    """Copies what means the same in both; what belongs to a new adapter or site stays as it was drawn.

    Parameters that do not depend on the number of adapters (Q, K and V of AdapterFusion) are copied whole, a
    `PerAdapter` entry by entry, by name.
    """
    known = dict(former.named_modules())
    for path, module in fresh.named_modules():
        if path not in known:
            continue
        if isinstance(module, PerAdapter):
            _carry_entries(known[path], module)
            continue
        theirs = dict(known[path].named_parameters(recurse=False))
        for name, parameter in module.named_parameters(recurse=False):
            parameter.copy_(theirs[name])


def spec_over(spec: Any, adapters: Sequence[str]) -> Any:
    """The settings of a fusion with fewer adapters: a router cannot choose more than there are."""
    check_carried(spec)
    wanted = getattr(spec, "k", None)
    return spec if wanted is None or wanted <= len(adapters) else replace(spec, k=len(adapters))


def check_carried(spec: Any) -> None:
    """Refuses a fusion whose parts are made for the very adapters it has."""
    if spec.kind == "hierarchical":
        raise PipelineError(
            "the groups of a hierarchical fusion do not outlive a change of its adapters",
            where="fusion",
            hint="train a fusion of the adapters wanted, with fusion.groups of its own",
        )


def _carry_entries(former: nn.Module, fresh: PerAdapter) -> None:
    assert isinstance(former, PerAdapter)
    for index, name in enumerate(fresh.names):
        if name in former.names:
            fresh.values[index] = former.values[former.names.index(name)]
