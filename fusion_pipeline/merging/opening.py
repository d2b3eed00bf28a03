"""From what a person names to an opened adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.formats import FORMATS, reader
from fusion_pipeline.merging.source import Source


def open_sources(values: Sequence[str], place: Path) -> list[Source]:
    """The adapters named: ours by name below `place`, any by the path of a folder or of a safetensors file in one."""
    found = [open_source(value, place) for value in values]
    names = [source.name for source in found]
    twice = {name for name in names if names.count(name) > 1}
    return [replace(s, name=str(s.folder)) if s.name in twice else s for s in found]


def open_source(value: str, place: Path) -> Source:
    """One adapter; raises `PipelineError` where nothing readable lies there."""
    path = _located(value, place)
    folder, file = (path.parent, path) if path.is_file() else (path, None)
    if file is not None and file.suffix != ".safetensors":
        raise PipelineError(
            "only safetensors are read", where=str(file), hint="a folder, or a .safetensors file in one"
        )
    found = format_of(folder)
    if found is None:
        raise PipelineError(
            "no adapter of a known format is here", where=str(folder), hint=f"formats: {', '.join(FORMATS)}"
        )
    return reader(found).open_source(folder, file, folder.resolve().name)


def format_of(folder: Path) -> str | None:
    """The format of the adapter in a folder."""
    return next((name for name in FORMATS if reader(name).holds(folder)), None)


def _located(value: str, place: Path) -> Path:
    path = Path(value).expanduser()
    named = place / value
    is_name = len(path.parts) == 1 and not value.startswith((".", "~"))
    if path.exists() and not (is_name and (named / store.MANIFEST).is_file()):
        return path
    return store.find(value, place, where="adapters")
