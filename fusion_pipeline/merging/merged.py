"""One module of a merge: N inputs in, the merged one and what became of its length out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.source import PARAMETERS
from fusion_pipeline.merging.update import Update

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A merged module.

    `update` of LoRA, `parameters` of a bottleneck. Energies are squared Frobenius norms: of each input's ΔW, of
    the merged ΔW before its rank was cut, and what the cut took away.
    """

    path: str
    update: Update | None = None
    parameters: Mapping[str, Tensor] = field(default_factory=dict)
    inputs: tuple[float, ...] = ()
    energy: float = 0.0
    discarded: float = 0.0


def merged_module(plan: Plan, path: str) -> Merged:
    """Reads one module of every input and merges it."""
    weights = plan.method.prepared(plan.module_weights[path])
    if plan.kind == PARAMETERS:
        return _parameters(plan, path, weights)
    updates = [_computed(update) for update in plan.updates(path)]
    found = plan.method.merge(updates, weights, plan.draws(path))
    update, discarded = found.at_rank(plan.ranks[path])
    return Merged(
        path=path,
        update=update.padded(plan.ranks[path]),
        inputs=tuple(update.energy() for update in updates),
        energy=found.energy(),
        discarded=discarded,
    )


def zero_update(outer: tuple[int, int]) -> Update:
    """The update of rank 0."""
    return Update(down=torch.zeros(0, outer[1]), up=torch.zeros(outer[0], 0))


def _parameters(plan: Plan, path: str, weights: Sequence[float]) -> Merged:
    read = [source.tensors(path) for source in plan.sources]
    found = plan.method.merge_parameters(read, weights, plan.draws(path))
    sizes = tuple(sum(float(t.double().square().sum()) for t in one.values()) for one in (*read, found))
    return Merged(path=path, parameters=found, inputs=sizes[:-1], energy=sizes[-1])


def _computed(update: Update) -> Update:
    """In float32 at least: half precision is for files."""
    if update.down.dtype in (torch.float32, torch.float64) and update.up.dtype == update.down.dtype:
        return update
    return replace(update, down=update.down.float(), up=update.up.float())
