"""Whose heads a merged adapter gets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fusion_pipeline import store
from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.source import Source

HEADS, NONE = "heads.safetensors", "none"


def head_source(plan: Plan, head_from: str | None) -> Source | None:
    """The input whose heads are taken: the one named, else the first where it has any, else the only one that has."""
    with_heads = [s for s in plan.sources if s.format == "native" and read_model(s.folder)["tasks"]]
    if head_from == NONE or (not with_heads and head_from is None):
        return None
    if head_from is not None:
        return _named(with_heads, head_from)
    if with_heads[0] is plan.sources[0] or len(with_heads) == 1:
        return with_heads[0]
    raise PipelineError(
        f"{plan.sources[0].name} has no head, and several others have: {', '.join(s.name for s in with_heads)}",
        where="head_from",
        hint=f"head_from={with_heads[0].name}, or head_from={NONE}",
    )


def copied_heads(source: Source | None, folder: Path) -> dict[str, Any]:
    """Copies the heads' weights; returns what `model.json` says of them."""
    if source is None:
        store.save_tensors(folder / HEADS, {})
        return {"heads": {}, "tasks": []}
    shutil.copyfile(source.folder / HEADS, folder / HEADS)
    saved = read_model(source.folder)
    return {key: saved[key] for key in ("heads", "tasks")}


def _named(sources: list[Source], name: str) -> Source:
    found = [s for s in sources if name in (s.name, str(s.folder), s.folder.name)]
    if len(found) != 1:
        raise PipelineError(
            f"no input called '{name}' has a head",
            where="head_from",
            hint=did_you_mean(name, [*(s.name for s in sources), NONE]),
        )
    return found[0]
