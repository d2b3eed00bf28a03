"""Opens an adapter that this pipeline trained, imported or merged: LoRA, or a bottleneck kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from fusion_pipeline import registry, store
from fusion_pipeline.adapters import BottleneckSpec
from fusion_pipeline.adapters.lora import LoraSpec
from fusion_pipeline.artefact_json import read_model
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging import tensor_file
from fusion_pipeline.merging.source import PARAMETERS, UPDATES, Base, Entry, Source
from fusion_pipeline.sites import load_table

WEIGHTS = "adapter.safetensors"
_KINDS = {LoraSpec: UPDATES, BottleneckSpec: PARAMETERS}
Parts = Mapping[str, Mapping[str, tuple[int, ...]]]


def holds(folder: Path) -> bool:
    """Whether the folder is an artefact of ours."""
    return (folder / store.MANIFEST).is_file()


def open_source(folder: Path, file: Path | None, name: str) -> Source:
    """The adapter in the folder, every file checked against its manifest."""
    manifest = store.verify(folder, kind="adapter")
    saved = read_model(folder)["adapter"]
    spec = registry.build("adapter", saved["kind"], **saved["values"])
    if type(spec) not in _KINDS:
        raise PipelineError(
            f"'{manifest.name}' is a {spec.kind}, whose weights mean nothing when averaged or added",
            where=str(folder),
            hint="lora, pfeiffer, houlsby and parallel are merged; stage=fusion fuses any kinds by their outputs",
        )
    kind, parts = _KINDS[type(spec)], _grouped(tensor_file.shapes(folder / WEIGHTS))
    return Source(
        name=manifest.name,
        format="native",
        folder=folder,
        file=folder / WEIGHTS,
        kind=kind,
        base=_base(manifest),
        entries=_updates(manifest, parts, spec.scale) if kind == UPDATES else _parameters(parts),
        config=asdict(spec),
    )


def _base(manifest: store.Manifest) -> Base:
    said = manifest.backbone
    return Base(name=said.get("name"), fingerprint=said.get("fingerprint"), model_type=said.get("model_type"))


def _updates(manifest: store.Manifest, parts: Parts, scale: float) -> dict[str, Entry]:
    return {_path(manifest, site): _entry(site, own).scaled(scale) for site, own in parts.items()}


def _parameters(parts: Parts) -> dict[str, Entry]:
    return {site: _entry(site, own) for site, own in parts.items()}


def linear_paths(model_type: str) -> dict[str, str] | None:
    """{our linear: its path below the backbone, `{}` for the layer}; None where layers have more than one number."""
    table = load_table(model_type)
    if "*" in table.layers:
        return None
    taps = {name: table.sites[name].write for name in table.linears}
    return {name: f"{table.layers}.{{}}.{tap.path}" for name, tap in taps.items() if tap is not None}


def _path(manifest: store.Manifest, key: str) -> str:
    row, layer = key.split(".")
    paths = linear_paths(str(manifest.backbone.get("model_type")))
    return key if paths is None else paths[row].format(layer)


def _grouped(shapes: Mapping[str, tuple[int, ...]]) -> Parts:
    found: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        row, layer, part = key.split(".", 2)
        found.setdefault(f"{row}.{layer}", {})[part] = shape
    return found


def _entry(site: str, parts: Mapping[str, tuple[int, ...]]) -> Entry:
    return Entry(keys={part: f"{site}.{part}" for part in parts}, shapes=dict(parts))
