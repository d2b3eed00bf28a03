"""A folder of another library's format appears whole or not at all, and replaces only its like."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError


def check_place(output: Path, holds: Callable[[Path], bool], *, overwrite: bool, what: str) -> None:
    """Only a folder that is not there or empty is written to, or with `overwrite` one that `holds` its like."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not output.is_dir() or not holds(output):
        raise PipelineError(
            f"something that is no {what} lies where this one should go",
            where=str(output),
            hint="another output=FOLDER",
        )
    if not overwrite:
        raise PipelineError(
            f"an {what} lies here already", where=str(output), hint="overwrite=true replaces it"
        )


@contextmanager
def placed(output: Path) -> Iterator[Path]:
    """Yields a folder aside, which becomes `output` when the block ends well: a former one is replaced whole."""
    aside, former = (output.with_name(f".{output.name}.{word}") for word in ("writing", "former"))
    try:
        with store.disk_errors(output):
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            yield aside
            if output.exists():
                shutil.rmtree(former, ignore_errors=True)  # of a run that was killed
                output.rename(former)
            aside.rename(output)
            shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
