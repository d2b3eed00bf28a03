"""Whether the files of an artefact are the ones that were saved."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store.manifest import MANIFEST, Manifest


def sha256(path: Path) -> str:
    """The sha256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder but the manifest, by path inside the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in paths}


def verify(folder: str | Path, *, kind: str | None = None) -> Manifest:
    """The manifest, once every file it lists has been found unchanged."""
    folder = Path(folder)
    manifest = Manifest.read(folder, kind=kind)
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise PipelineError(
                f"the artefact's {name} is missing", where=str(path), hint="make the artefact again"
            )
        if not path.resolve().is_relative_to(folder.resolve()):
            raise PipelineError(f"the artefact's {name} lies outside its folder", where=str(path.resolve()))
        if _digest(path) != digest:
            what = f"the artefact's {name} was altered or cut short: its sha256 is not the manifest's"
            raise PipelineError(what, where=str(path), hint="make the artefact again, or copy it again")
    return manifest


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise PipelineError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
