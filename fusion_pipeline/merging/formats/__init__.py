"""The formats of adapters that are merged: a package each, whose `reading` opens one and `writing` writes one."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from fusion_pipeline.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from fusion_pipeline.merging.output import Writing
    from fusion_pipeline.merging.plan import Plan
    from fusion_pipeline.merging.source import Source

FORMATS = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/reading.py")))


class Reader(Protocol):
    """How one format is recognised and opened."""

    def holds(self, folder: Path) -> bool:
        """Whether the folder says that it is of this format; what is in it may still be refused."""
        ...

    def open_source(self, folder: Path, file: Path | None, name: str) -> Source:
        """The adapter in the folder, its header read and checked; `file` where a person named one."""
        ...


class Writer(Protocol):
    """How one format is written."""

    def check(self, plan: Plan, writing: Writing) -> None:
        """Refuses what the format cannot hold, and an output folder that may not be replaced."""
        ...

    def place(self, plan: Plan, writing: Writing) -> AbstractContextManager[Path]:
        """An empty folder that becomes the output when the block ends well."""
        ...

    def write(self, plan: Plan, writing: Writing, folder: Path) -> list[str]:
        """Writes the merged adapter into the folder, module by module; returns what a person should know."""
        ...


def reader(name: str) -> Reader:
    """The reading half of a format."""
    return cast(Reader, importlib.import_module(f"{__name__}.{check_format(name)}.reading"))


def writer(name: str) -> Writer:
    """The writing half of a format."""
    return cast(Writer, importlib.import_module(f"{__name__}.{check_format(name)}.writing"))


def check_format(name: str) -> str:
    """The name itself, if there is such a format."""
    if name not in FORMATS:
        raise PipelineError(
            f"there is no format {name!r}", where="format", hint=did_you_mean(str(name), FORMATS)
        )
    return name
