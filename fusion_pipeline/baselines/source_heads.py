"""The head of a source's adapter, where it answers the target's question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from fusion_pipeline import store
from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.artefacts import HEADS
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.tasks.spec import TaskSpec


@dataclass(frozen=True, kw_only=True)
class SourceHead:
    """A head's settings and weights."""

    spec: HeadSpec
    weights: dict[str, Tensor]


def source_head(folder: Path, target: TaskSpec) -> SourceHead | None:
    """The adapter's head for a task of the target's type with the same set of labels, in the target's order.

    None where there is none. A value (regression) has a scale of its own and no labels: its head never fits.
    """
    saved = read_model(folder)
    if not target.labels:
        return None
    for values in saved["tasks"]:
        task = TaskSpec(**values)
        if task.type == target.type and set(task.labels or ()) == set(target.labels):
            spec = HeadSpec(**saved["heads"][task.name])
            return _reordered(spec, _weights(folder, task.name), target.labels)
    return None


def _weights(folder: Path, name: str) -> dict[str, Tensor]:
    tensors = store.load_tensors(folder / HEADS)
    return {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}


def _reordered(spec: HeadSpec, weights: dict[str, Tensor], labels: Sequence[str]) -> SourceHead | None:
    assert spec.labels is not None
    if tuple(spec.labels) == tuple(labels):
        return SourceHead(spec=spec, weights=weights)
    if spec.outputs != len(labels):
        return None
    order = [spec.labels.index(label) for label in labels]
    last = {key: t[order] for key, t in weights.items() if key.startswith("out.")}
    return SourceHead(spec=replace(spec, labels=tuple(labels)), weights={**weights, **last})
