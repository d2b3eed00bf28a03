"""From what a person writes (a name or a path) to an artefact's folder."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.store.manifest import MANIFEST


def artefacts(folder: str | Path) -> list[str]:
    """The names of the artefacts in a folder such as `outputs/adapters`."""
    return sorted(
        path.parent.name for path in Path(folder).glob(f"*/{MANIFEST}") if path.parent.name[0] != "."
    )


def find(value: str, folder: str | Path, *, where: str) -> Path:
    """The folder of the artefact that `value` names: a name below `folder`, or a path.

    A name wins over a folder of the same name in the working directory; `./rte` is always a path.
    """
    named, path = Path(folder) / value, Path(value).expanduser()
    is_name = len(Path(value).parts) == 1 and not value.startswith((".", "~"))
    for candidate in (named, path) if is_name else (path,):
        if (candidate / MANIFEST).is_file():
            return candidate
    if path.is_dir() and any(path.iterdir()) and not is_name:
        raise PipelineError(f"this folder is no artefact: it has no {MANIFEST}", where=str(path))
    place = Path(folder) if is_name else path.parent
    hint = (
        did_you_mean(Path(value).name, artefacts(place)) if artefacts(place) else f"there are none in {place}"
    )
    raise PipelineError(f"there is no artefact '{value}'", where=where, hint=hint)
