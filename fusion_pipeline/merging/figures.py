"""What a merge did to every module, and where it came from: `merge.json` of the merged adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fusion_pipeline.merging.source import PARAMETERS
from fusion_pipeline.store.manifest import versions

if TYPE_CHECKING:
    from fusion_pipeline.merging.merged import Merged
    from fusion_pipeline.merging.plan import Plan

RECORD = "merge.json"


@dataclass
class Figures:
    """Collects the figures of modules as they are written."""

    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    kept: float = 0.0
    lost: float = 0.0

    def watched(self, plan: Plan) -> Iterator[Merged]:
        """The plan's modules, each noted as it goes by."""
        for merged in plan.merged():
            self.kept, self.lost = self.kept + merged.energy, self.lost + merged.discarded
            self.modules[merged.path] = {
                "rank": plan.ranks[merged.path],
                "norms": [round(math.sqrt(energy), 6) for energy in merged.inputs],
                "norm": round(math.sqrt(merged.energy), 6),
                "discarded_energy": share(merged.discarded, merged.energy),
            }
            yield merged

    def record(self, plan: Plan, *, form: str, notes: list[str]) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            **identity(plan, form=form),
            "notes": notes,
            "versions": versions(),
            "discarded_energy": share(self.lost, self.kept),
            "absent": plan.absent,
            "modules": self.modules,
        }


def identity(plan: Plan, *, form: str) -> dict[str, Any]:
    """Everything the merged adapter depends on: two merges with the same are the same."""
    inputs = [
        {"name": s.name, "format": s.format, "sha256": digest, "base": s.base.name}
        for s, digest in zip(plan.sources, plan.digests, strict=True)
    ]
    return {
        "format": form,
        "inputs": inputs,
        "method": asdict(plan.method),
        "weights": list(plan.weights) if plan.weights is not None else None,
        "layer_weights": dict(plan.layer_weights),
        "rank": plan.rank,
        "dtype": plan.out_dtype,
        "seed": plan.seed,
    }


def notes(plan: Plan) -> list[str]:
    """What a person should know of this merge."""
    found = [note for source in plan.sources for note in source.notes]
    for name, missing in plan.absent.items():
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        found.append(f"{name} has no update of {len(missing)} modules, which count as zero: {shown}")
    if plan.kind == PARAMETERS:
        found.append("bottleneck adapters: their parameters were merged, not what they compute")
    copies = len(set(plan.digests)) < len(plan.digests)
    unknown = [s.name for s in plan.sources if s.base.name is None]
    if copies:
        found.append("two of the adapters have the same weights")
    if unknown and len(plan.sources) > 1:
        found.append(f"no base model is recorded in {', '.join(unknown)}: only shapes were compared")
    return found


def share(part: float, whole: float) -> float:
    """part / whole, 0 of nothing."""
    return part / whole if whole > 0 else 0.0
