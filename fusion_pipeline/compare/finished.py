"""Finished runs below a folder, told apart by their manifests: target, contender, seed, number of training examples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fusion_pipeline.artefact_json import task_specs
from fusion_pipeline.artefacts import PARENTS, find_parent
from fusion_pipeline.compare.comparing import REFERENCE
from fusion_pipeline.compare.results import Outcome
from fusion_pipeline.compare.variants import name_variants
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store import MANIFEST, Manifest
from fusion_pipeline.tasks.spec import TaskSpec

# Stages whose runs are contenders by what they train; others are named after their stage.
_TRAINING = ("adapters", "fusion", "baseline")


def find_outcomes(roots: Sequence[Path]) -> tuple[list[Outcome], list[str]]:
    """Every run that says how it did on test, the reference first, and notes on those that were left out."""
    outcomes, notes = [], []
    for folder in _artefacts(roots):
        try:
            found = _outcomes(folder, Manifest.read(folder))
        except PipelineError as error:
            notes.append(f"Left out: {folder.name}: {error.what.splitlines()[0]}.")
            continue
        outcomes += found
    named, left_out = name_variants(outcomes)
    return sorted(named, key=_order), [*notes, *left_out]


def _artefacts(roots: Sequence[Path]) -> Iterator[Path]:
    """Folders with a manifest, without hidden ones and copies that lie in other artefacts."""
    seen = set()
    for root in roots:
        for path in sorted(root.rglob(MANIFEST)):
            parts = path.parent.relative_to(root).parts
            if any(part.startswith(".") or part == PARENTS for part in parts) or path.resolve() in seen:
                continue
            seen.add(path.resolve())
            yield path.parent


def _outcomes(folder: Path, manifest: Manifest) -> list[Outcome]:
    """One for each task it was tested on; none for what has no test scores (imported, merged)."""
    if not all((folder / name).is_file() for name in ("metrics.json", "predictions.jsonl")):
        return []
    trained = {entry["task"] for entry in manifest.data}
    text = json.dumps(manifest.config, sort_keys=True)
    return [
        Outcome(
            contender=contender_of(manifest, len(trained)),
            task=task,
            seed=manifest.seed,
            stage1_seed=_stage1_seed(folder, manifest),
            train_size=_train_size(manifest.config, task),
            folder=folder,
            learning_rate=manifest.config.get("trainer", {}).get("learning_rate"),
            config_hash=hashlib.sha256(text.encode()).hexdigest()[:12],
        )
        for task in task_specs(folder)
        if task.name in trained and _tested(folder, task)
    ]


def contender_of(manifest: Manifest, tasks: int) -> str:
    """What a run is called: its baseline, its fusion, `single`, or `joint` for an adapter of several tasks."""
    config = manifest.config
    stage = str(config.get("stage"))
    baseline = config.get("baseline")
    if isinstance(baseline, dict) and "kind" in baseline:
        name = str(baseline["kind"])
    elif manifest.kind == "fusion":
        name = str(config.get("fusion", {}).get("kind", "fusion"))
    elif manifest.kind == "adapter":
        name = REFERENCE if tasks == 1 else "joint"
    else:
        name = manifest.kind
    return name if stage in _TRAINING else f"{name} ({stage})"


def _tested(folder: Path, task: TaskSpec) -> bool:
    """Whether there are predictions for a task: an old head that was kept has none."""
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8")).get("test", {})
    return task.metric in found or f"{task.name}/{task.metric}" in found


def _stage1_seed(folder: Path, manifest: Manifest) -> int | None:
    """The seed that all adapters below it have in common."""
    seeds = set()
    for parent in manifest.parents:
        try:
            seeds.add(Manifest.read(find_parent(folder, manifest, str(parent["name"]))).seed)
        except PipelineError:
            seeds.add(-1)
    return seeds.pop() if len(seeds) == 1 and seeds != {-1} else None


def _train_size(config: dict[str, Any], task: TaskSpec) -> int | None:
    sizes = config.get("data", {}).get("train_sizes") or {}
    return sizes.get(task.name)


def _order(outcome: Outcome) -> tuple[str, bool, str, bool, int, int]:
    sized = outcome.train_size is not None
    first = outcome.contender != REFERENCE
    return outcome.task.name, first, outcome.contender, sized, outcome.train_size or 0, outcome.seed
