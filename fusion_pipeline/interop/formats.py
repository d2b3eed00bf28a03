"""The formats there are: one package each below `interop`, with a module `exchange`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from fusion_pipeline.errors import PipelineError, did_you_mean

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

FORMATS = tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/exchange.py")))


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What a folder of a foreign format put into a model, by the names it got there.

    `heads` belong to the fusion, or stand alone; `adapter_heads` are those of single adapters.
    """

    adapters: Sequence[str] = ()
    fusion: str | None = None
    heads: Sequence[str] = ()
    adapter_heads: Mapping[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Format(Protocol):
    """One format's two directions, and which adapters its folder needs besides.

    `WHOLE`: it holds a backbone's weights, so that a fine-tuned model has a place in it.
    """

    WHOLE: bool

    def needs(self, folder: Path) -> list[str]:
        """Adapters that are not in the folder and must be there already: those of a fusion on its own."""
        ...

    def read(
        self, model: AdaptedModel, folder: Path, *, head: Path | None, adapters: Sequence[str]
    ) -> Imported:
        """Puts everything in the folder into the model; `adapters` are in it already."""
        ...

    def holds(self, folder: Path) -> bool:
        """Whether the folder holds an object of this format, and may be replaced by another one."""
        ...

    def write(self, model: AdaptedModel, folder: Path) -> list[str]:
        """Writes what is active in the model; returns what a person should know."""
        ...


def find_format(name: object) -> Format:
    """The format of that name."""
    if name not in FORMATS:
        raise PipelineError(
            f"there is no format {name!r}", where="format", hint=did_you_mean(str(name), FORMATS)
        )
    return cast(Format, importlib.import_module(f"fusion_pipeline.interop.{name}.exchange"))


def fetch_folder(path: str) -> Path:
    """A local folder, or a repository of the hub, downloaded; `path` is `./folder` or `owner/name`."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise PipelineError(
            f"there is no folder {path}", where="path", hint="a folder, or a hub id: owner/name"
        )
    from fusion_pipeline.hub import stay_offline_if_unreachable

    stay_offline_if_unreachable()
    from huggingface_hub import snapshot_download

    try:
        # Never code: JSON and weights alone.
        return Path(snapshot_download(path, allow_patterns=["*.json", "*.safetensors", "*.bin"]))
    except Exception as error:
        # The client raises its own, requests' and the system's errors.
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise PipelineError(
            f"{path} is neither a folder nor to be had from the hub: {said}",
            where="path",
            hint="download it where there is a network and set path=FOLDER",
        ) from error
