"""Folders of AdapterHub's format in and out: one adapter, a head, a fusion, or a whole set-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.adapterhub.files import LAYOUTS, SETUP, find_objects, read_object
from fusion_pipeline.interop.adapterhub.loading import (
    active_names,
    fused_names,
    load_adapter,
    load_fusion,
    load_head,
)
from fusion_pipeline.interop.adapterhub.saving import save_model
from fusion_pipeline.interop.formats import Imported
from fusion_pipeline.interop.reading import read_json
from fusion_pipeline.tasks.names import safe_name

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

WHOLE = False


def needs(folder: Path) -> list[str]:
    """The adapters of a fusion that was saved on its own."""
    return fused_names(folder) if _holds(folder, "fusion") else []


def read(model: AdaptedModel, folder: Path, *, head: Path | None, adapters: Sequence[str]) -> Imported:
    """Reads whatever the folder holds; `head` names the folder of a head that lies elsewhere."""
    if _holds(folder, "adapter"):
        name, heads = _adapter(model, folder, head)
        return Imported(adapters=[name], adapter_heads=heads, notes=_base_note(folder, "adapter"))
    if _holds(folder, "fusion"):
        return _fusion(model, folder, adapters, [] if head is None else [head])
    if _holds(folder, "head"):
        return Imported(heads=[_head(model, folder)], notes=_base_note(folder, "head"))
    if not find_objects(folder, "fusion"):
        listed = ", ".join(layout.config for layout in LAYOUTS.values())
        raise PipelineError(
            f"nothing of AdapterHub's format is here: no {listed}",
            where=str(folder),
            hint="path=FOLDER of one saved adapter, head or fusion, or of a whole set-up",
        )
    return _setup(model, folder, head)


def holds(folder: Path) -> bool:
    """Whether an object or a set-up lies here."""
    return (folder / SETUP).is_file() or any(_holds(folder, kind) for kind in LAYOUTS)


def write(model: AdaptedModel, folder: Path) -> list[str]:
    """Writes the active adapter or fusion with its heads."""
    return save_model(model, folder)


def _setup(model: AdaptedModel, folder: Path, head: Path | None) -> Imported:
    fusion, places = active_names(folder)
    adapters = [_adapter(model, place, None) for place in places]
    names = [name for name, _ in adapters]
    found = _fusion(model, fusion, names, [])
    heads_of = {name: head for _, heads in adapters for name, head in heads.items()}
    loaded = {place: heads_of[name] for place, name in zip(places, names, strict=True) if name in heads_of}
    wanted = _head_folders(folder, places) if head is None else [head]
    main = [loaded[place] if place in loaded else _head(model, place) for place in wanted]
    return replace(found, adapters=names, heads=main, adapter_heads=heads_of)


def _head_folders(folder: Path, adapters: Sequence[Path]) -> list[Path]:
    """Where the fusion's heads lie: the ones that the set-up names, else all that lie beside no adapter."""
    by_name = {place.name: place for place in find_objects(folder, "head")}
    named = read_json(folder / SETUP).get("head_setup") if (folder / SETUP).is_file() else None
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return [place for place in by_name.values() if place not in adapters]
    missing = [name for name in names if name not in by_name]
    if missing:
        raise PipelineError(f"the set-up's heads are missing: {', '.join(missing)}", where=str(folder))
    return [by_name[name] for name in names]


def _adapter(model: AdaptedModel, folder: Path, head: Path | None) -> tuple[str, dict[str, str]]:
    """An adapter and, where one lies with it or elsewhere, its head: (name, {name: head})."""
    name = load_adapter(model, folder)
    place = head if head is not None else folder if _holds(folder, "head") else None
    return name, {} if place is None else {name: load_head(model, place, safe_name(name))}


def _fusion(model: AdaptedModel, folder: Path, adapters: Sequence[str], heads: Sequence[Path]) -> Imported:
    name, notes = load_fusion(model, folder, adapters)
    notes = _base_note(folder, "fusion") + notes
    return Imported(fusion=name, heads=[_head(model, place) for place in heads], notes=notes)


def _head(model: AdaptedModel, folder: Path) -> str:
    return load_head(model, folder, safe_name(read_object(folder, "head").name or folder.resolve().name))


def _holds(folder: Path, kind: str) -> bool:
    return (folder / LAYOUTS[kind].config).is_file()


def _base_note(folder: Path, kind: str) -> list[str]:
    """Another base of the same shape cannot be told from the weights: say which one was recorded."""
    config = read_object(folder, kind).config
    version, base = config.get("version", "an early version"), config.get("model_name") or "not recorded"
    return [f"imported from AdapterHub's format ({version}); its backbone there: {base}"]
