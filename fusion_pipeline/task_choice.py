"""`nli:snli`: what an adapter that differs by task is for one of them, as an adapter of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.errors import PipelineError, did_you_mean

MARK = ":"  # in no artefact's name


def split_choice(name: str) -> tuple[str, str | None]:
    """(`nli`, `snli`) of `nli:snli`, (`nli`, None) of `nli`."""
    base, mark, task = name.rpartition(MARK)
    return (base, task) if mark else (name, None)


def tasks_apart(folder: Path) -> list[str]:
    """The tasks for which a saved adapter has weights of their own; empty where it is one for all."""
    return list(read_model(folder)["adapter"]["values"].get("tasks") or ())


def chosen_name(name: str, task: str | None, tasks: Sequence[str]) -> str:
    """What a fusion calls the adapter; refuses a choice that is missing or that there is not."""
    if task is None and tasks:
        raise PipelineError(
            f"'{name}' makes an adapter for each of its tasks: {', '.join(tasks)}",
            where="adapters",
            hint=f"say which: adapters=[{name}{MARK}{tasks[0]}], or several of them",
        )
    if task is not None and not tasks:
        raise PipelineError(
            f"'{name}' is one adapter, for all of its tasks", where="adapters", hint=f"adapters=[{name}]"
        )
    if task is not None and task not in tasks:
        raise PipelineError(
            f"'{name}' makes no adapter for '{task}'", where="adapters", hint=did_you_mean(task, tasks)
        )
    return name if task is None else f"{name}{MARK}{task}"
