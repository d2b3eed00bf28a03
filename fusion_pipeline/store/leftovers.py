"""What a run that was killed while saving leaves beside its folder, and how the next run clears it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def staging_of(target: Path) -> Path:
    """The hidden folder that becomes `target` when it is complete."""
    return target.parent / f".{target.name}.partial-{os.getpid()}"


def aside_of(target: Path) -> Path:
    """Where the old folder waits on file systems that cannot exchange two folders in one step."""
    return target.parent / f".{target.name}.old"


def recover(target: Path) -> None:
    """Removes half-written folders of a killed run and puts back an old artefact it had moved aside.

    Call it holding the folder's lock.
    """
    aside = aside_of(target)
    if aside.is_dir() and not target.exists():
        aside.rename(target)
    for path in target.parent.iterdir():
        if path == aside or path.name.startswith(f".{target.name}.partial-"):
            shutil.rmtree(path, ignore_errors=True)
