"""The adapters a fusion is made of, found and verified before anything is trained."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run
from fusion_pipeline.task_choice import chosen_name, split_choice, tasks_apart


def find_parents(run: Run) -> dict[str, Path]:
    """{name in the fusion: folder}, every file checked against its manifest.

    `nli:snli` is the adapter that `nli` makes for its task snli, where it makes one for each.
    """
    place = run.output_root / "adapters"
    found: dict[str, Path] = {}
    places: dict[str, Path] = {}
    for value in run.names("adapters"):
        folder, task = _find(value, place)
        base = store.verify(folder, kind="adapter").name
        name = chosen_name(base, task, tasks_apart(folder))
        former = found.get(name, places.get(base, folder))
        if name in found or former.resolve() != folder.resolve():
            raise PipelineError(
                f"two adapters are called '{name}': {former} and {folder}",
                where="adapters",
                hint="train one of them again with another name=",
            )
        found[name] = places[base] = folder
    return found


def _find(value: str, place: Path) -> tuple[Path, str | None]:
    try:
        return store.find(value, place, where="adapters"), None
    except PipelineError as error:
        base, task = split_choice(value)
        if base and task:
            return _find(base, place)[0], task
        trains = f"train it first: stage=adapters task={value}"
        raise PipelineError(error.what, where=error.where, hint=f"{error.hint}; or {trains}") from error
