"""An artefact appears whole or not at all: written under a hidden name, sealed, then renamed."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.store.disk import disk_errors
from fusion_pipeline.store.integrity import files_of
from fusion_pipeline.store.leftovers import aside_of, staging_of
from fusion_pipeline.store.locks import lock
from fusion_pipeline.store.manifest import MANIFEST, Manifest
from fusion_pipeline.store.names import check_name

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def publish(target: str | Path, manifest: Manifest, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a fresh folder to write into; when the block ends well, it becomes `target`, with its manifest.

    An error in the block removes the fresh folder and leaves an older artefact untouched. The artefact's
    folder is replaced as a whole.

    Args:
        target: The artefact's folder.
        manifest: What the artefact is; its `files` are filled in here.
        overwrite: Replace an artefact that is already there.
    """
    target = Path(os.path.abspath(target))
    check_name(target.name, where=str(target))
    with lock(target):
        _refuse_existing(target, overwrite)
        staging = staging_of(target)
        try:
            with disk_errors(target):
                staging.mkdir()
                yield staging
                replace(manifest, files=files_of(staging)).write(staging)
                _flush(staging)
                _swap(staging, target)
                _flush_folder(target.parent)
        finally:
            shutil.rmtree(
                staging, ignore_errors=True
            )  # the partial folder, or the old artefact after the exchange


@contextmanager
def replacing(target: Path, *, marker: str) -> Iterator[Path]:
    """Yields a fresh folder to write a report into; when the block ends well, it takes the place of `target`.

    A report can be made again, so that a former one, a folder with the file `marker`, is replaced; anything else
    is refused.
    """
    target = Path(os.path.abspath(target))
    with lock(target):
        there = os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir()))
        if there and (target.is_symlink() or not (target / marker).is_file()):
            what = f"something that is no former report (with {marker}) lies where this one should go"
            raise PipelineError(what, where=str(target), hint="move it away, or give this run another name=")
        staging = staging_of(target)
        try:
            with disk_errors(target):
                staging.mkdir()
                yield staging
                _flush(staging)
                _swap(staging, target)
                _flush_folder(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
        return
    if target.is_symlink() or not (target / MANIFEST).is_file():
        what = "something that is no artefact lies where this one should go"
        raise PipelineError(what, where=str(target), hint="move it away, or give this run another name=")
    if not overwrite:
        hint = "overwrite=true replaces it, name= gives this one another name"
        raise PipelineError("this artefact is already there", where=str(target), hint=hint)


def _flush(folder: Path) -> None:
    """Forces files and folders to the disk: a rename must never reach it before the content does."""
    for path in folder.rglob("*"):
        if path.is_dir():
            _flush_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
    elif not _exchange(staging, target):
        _swap_in_two_steps(staging, target)


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders in one step, so that either name always exists; False where that cannot be."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def _swap_in_two_steps(staging: Path, target: Path) -> None:
    aside = aside_of(target)
    target.rename(aside)
    try:
        staging.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
