"""The adapters a fusion is made of, found and verified before anything is trained."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.run import Run


def find_parents(run: Run) -> dict[str, Path]:
    """{name in the fusion: folder}, every file checked against its manifest."""
    place = run.output_root / "adapters"
    found: dict[str, Path] = {}
    for value in run.names("adapters"):
        folder = _find(value, place)
        name = store.verify(folder, kind="adapter").name
        if name in found:
            raise PipelineError(
                f"two adapters are called '{name}': {found[name]} and {folder}",
                where="adapters",
                hint="train one of them again with another name=",
            )
        found[name] = folder
    return found


def _find(value: str, place: Path) -> Path:
    try:
        return store.find(value, place, where="adapters")
    except PipelineError as error:
        trains = f"train it first: stage=adapters task={value}"
        raise PipelineError(error.what, where=error.where, hint=f"{error.hint}; or {trains}") from error
