"""The tasks behind `adapters=`, for baselines that train on the sources' data and not on their adapters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run, as_list
from fusion_pipeline.tasks.resolve import task_name
from fusion_pipeline.tasks.spec import DataSpec


def source_tasks(run: Run, data: DataSpec, target: str) -> list[str]:
    """The values of `adapters=` as tasks, each once, without the target.

    A trained adapter stands for the tasks it was trained on; anything else is a task as in `task=`. Their data are
    read as this run says (`data=`, `columns.*`).
    """
    found: dict[str, str] = {}
    for given in run.names("adapters"):
        for value in _tasks_of(given, run.output_root / "adapters", data):
            found.setdefault(task_name(value, data), value)
    found.pop(task_name(target, data), None)
    if not found:
        raise PipelineError(
            "adapters= names no task but the target", where="adapters", hint="adapters=[snli,mnli,qqp]"
        )
    return list(found.values())


def _tasks_of(value: str, place: Path, data: DataSpec) -> Sequence[str]:
    folder = next(
        (at for at in (place / value, Path(value).expanduser()) if (at / store.MANIFEST).is_file()), None
    )
    if folder is None:
        return [value]
    trained = {entry["task"] for entry in store.Manifest.read(folder, kind="adapter").data}
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    key = "task" if config.get("task") is not None else "target"
    values = [one for one in as_list(config.get(key)) if task_name(one, data) in trained]
    if not values:
        raise PipelineError(
            f"it is not known what the adapter '{value}' was trained on",
            where="adapters",
            hint="name the task instead",
        )
    return values
