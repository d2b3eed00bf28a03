"""`model.json`: what a saved model consists of, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import locate_recorded
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.types import remember, type_names

MODEL = "model.json"


def read_model(folder: Path) -> dict[str, Any]:
    """The components, heads and tasks of an artefact."""
    try:
        saved: dict[str, Any] = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{MODEL} cannot be read: {error}", where=str(folder)) from error
    for name, target in saved.get("types", {}).items():
        if name not in type_names():
            remember(name, locate_recorded(target, f"task type '{name}'", where=str(folder)))
    return saved


def task_specs(folder: Path) -> list[TaskSpec]:
    """The tasks an artefact has heads for."""
    return [TaskSpec(**values) for values in read_model(folder)["tasks"]]
