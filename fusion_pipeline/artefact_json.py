"""`model.json`: what a saved model consists of, readable without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.spec import TaskSpec

MODEL = "model.json"


def read_model(folder: Path) -> dict[str, Any]:
    """The components, heads and tasks of an artefact."""
    try:
        saved: dict[str, Any] = json.loads((folder / MODEL).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PipelineError(f"{MODEL} cannot be read: {error}", where=str(folder)) from error
    return saved


def task_specs(folder: Path) -> list[TaskSpec]:
    """The tasks an artefact has heads for."""
    return [TaskSpec(**values) for values in read_model(folder)["tasks"]]
