"""The files of one object: JSON beside safetensors, or beside a torch file that is read as weights only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.reading import load_pickled, read_json, write_json
from fusion_pipeline.store import disk_errors, load_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

SETUP = "adapter_setup.json"
VERSION = "adapters.1.3.0"
"""What files written here say of themselves: the version whose layout they follow."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The file names of one kind of object."""

    config: str
    safe: str
    pickled: str


LAYOUTS = {
    "adapter": Layout(
        config="adapter_config.json", safe="adapter.safetensors", pickled="pytorch_adapter.bin"
    ),
    "head": Layout(
        config="head_config.json", safe="model_head.safetensors", pickled="pytorch_model_head.bin"
    ),
    "fusion": Layout(
        config="adapter_fusion_config.json",
        safe="model_adapter_fusion.safetensors",
        pickled="pytorch_model_adapter_fusion.bin",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One object as it lies on disk: its kind, its JSON and its tensors by that library's keys."""

    kind: str
    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def name(self) -> str | None:
        """What it is called; a static head has no name."""
        name = self.config.get("name")
        return None if name is None else str(name)


def find_objects(folder: Path, kind: str) -> list[Path]:
    """The folders at or one level below `folder` that hold an object of this kind, by name."""
    config = LAYOUTS[kind].config
    places = [folder, *sorted(path for path in folder.glob("*") if path.is_dir())]
    return [place for place in places if (place / config).is_file()]


def read_object(folder: Path, kind: str) -> Saved:
    """Reads an object; safetensors win over a torch file, which is opened with `weights_only=True`."""
    layout = LAYOUTS[kind]
    if not (folder / layout.config).is_file():
        raise PipelineError(
            f"there is no {kind} of AdapterHub's format here: {layout.config} is missing", where=str(folder)
        )
    config = read_json(folder / layout.config)
    if (folder / layout.safe).is_file():
        tensors = load_tensors(folder / layout.safe)
    else:
        tensors = load_pickled(folder / layout.pickled, instead=layout.safe)
    return Saved(kind=kind, folder=folder, config=config, tensors=tensors)


def write_object(folder: Path, kind: str, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Writes an object as safetensors and JSON."""
    layout = LAYOUTS[kind]
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder / layout.safe, tensors)
        write_json(folder / layout.config, config)
