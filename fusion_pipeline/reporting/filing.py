"""Where a run is filed at wandb: its group, its kind of job and its tags."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel
    from fusion_pipeline.run import Run


def group_of(run: Run, name: str) -> str | None:
    """What the runs of one sweep have in common: `rte-over-fusion+seed`, or the sweep of wandb's agent; else None."""
    if run.swept:
        base = name.removesuffix(run.name_suffix)
        keys = "+".join(run.swept)
        return f"{base}-over-{keys}"
    agent = os.environ.get("WANDB_SWEEP_ID")
    return f"sweep-{agent}" if agent else None


def tags_of(model: AdaptedModel, tasks: Sequence[str], seed: int) -> list[str]:
    """`fusion:linear`, `adapter:pfeiffer`, `target:rte`, `seed:0`."""
    fusion = None if model.active_fusion is None else _kind(model.fusions[model.active_fusion])
    kinds = dict.fromkeys(_kind(model.adapters[name]) for name in model.active_adapters)
    return [
        *([f"fusion:{fusion}"] if fusion else []),
        *(f"adapter:{kind}" for kind in kinds),
        *(f"target:{task}" for task in tasks),
        f"seed:{seed}",
    ]


def _kind(part: Any) -> str:
    return str(part.spec.kind)
