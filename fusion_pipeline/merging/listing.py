"""Which adapters lie below a folder, and which of them can be read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.formats import reader
from fusion_pipeline.merging.opening import format_of
from fusion_pipeline.merging.paths import layer_of
from fusion_pipeline.merging.source import Source
from fusion_pipeline.run import Run
from fusion_pipeline.store import MANIFEST

_SIGNS = (MANIFEST, "adapter_config.json", "adapters.safetensors", "best_adapters.safetensors")


@dataclass(frozen=True, kw_only=True)
class Found:
    """One adapter's folder: what can be said of it, or why it cannot be merged."""

    folder: Path
    form: str
    source: Source | None = None
    problem: str = ""


def found_below(root: Path) -> Iterator[Found]:
    """Every adapter below a folder, in order of paths; hidden folders and links are left out."""
    if not root.is_dir():
        raise PipelineError(f"there is no folder {root}", where="list")
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if any(sign in files for sign in _SIGNS):
            yield _examined(Path(place))


def _examined(folder: Path) -> Found:
    form = "?"
    try:
        form = format_of(folder) or "?"
        if form == "?":
            return Found(folder=folder, form=form, problem="its config is no adapter's")
        return Found(folder=folder, form=form, source=reader(form).open_source(folder, None, folder.name))
    except PipelineError as error:
        return Found(folder=folder, form=form, problem=" ".join(error.what.split()))


def show(run: Run, root: Path) -> None:
    """Prints the table."""
    from rich.table import Table

    table = Table(
        "adapter", "format", "base", "rank", "targets", "MB", "readable", title=f"adapters below {root}"
    )
    count = 0
    for found in found_below(root):
        count += 1
        table.add_row(str(found.folder.relative_to(root)), found.form, *_columns(found))
    if count:
        run.console.print(table)
    else:
        run.console.print(f"there are no adapters below {root}", soft_wrap=True, markup=False)


def _columns(found: Found) -> list[str]:
    source = found.source
    if source is None:
        return ["", "", "", "", f"no: {found.problem}"]
    ranks = sorted(set(source.ranks.values()))
    shown = str(ranks[0]) if len(ranks) == 1 else f"{ranks[0]}-{ranks[-1]}"
    size = source.file.stat().st_size / 1e6
    return [source.base.name or "not recorded", shown, _targets(source), f"{size:.1f}", "yes"]


def _targets(source: Source) -> str:
    """The last word of each target and how many modules there are."""
    names: dict[str, Any] = {}
    for path in source.entries:
        stack, layer = layer_of(path)
        rest = path if layer is None else path.removeprefix(f"{stack}.{layer}").lstrip(".")
        names[(rest or stack).split(".")[-1]] = None
    return f"{', '.join(names)} ({len(source.entries)})"
