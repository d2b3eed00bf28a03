"""Models and artefact folders: what is written of a trained model, and how it comes back.

An adapter's folder holds its own weights and head; a fusion's holds the fusion and its heads and names the
adapters it is made of, which lie beside it (`../../adapters/<name>`) or, where they came from elsewhere, in
`parents/<name>` inside it. A fine-tuned model's holds all of its backbone. No path is ever read from a file.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from fusion_pipeline import registry, store
from fusion_pipeline.artefact_json import MODEL, read_model
from fusion_pipeline.backbone import BackboneSpec
from fusion_pipeline.backbone.loading import load_backbone
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError, did_you_mean
from fusion_pipeline.heads import HeadSpec
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.store.names import safe_name
from fusion_pipeline.task_choice import split_choice, tasks_apart
from fusion_pipeline.tasks.spec import TaskSpec
from fusion_pipeline.tasks.types import task_type

ADAPTER, FUSION, HEADS = "adapter.safetensors", "fusion.safetensors", "heads.safetensors"
PARENTS, BACKBONE = "parents", "backbone"
# What an artefact may say of its backbone; `wheel`, `hub` and checksums come from installed configs.
_PORTABLE = ("path", "revision", "random", "pooling", "max_length", "dtype", "attention", "dropout")


def write_adapter(model: AdaptedModel, name: str, tasks: Sequence[TaskSpec], folder: Path) -> None:
    """One adapter and the heads of its tasks."""
    store.save_tensors(folder / ADAPTER, model.adapters[name].state_dict())
    _write_heads(model, tasks, folder)
    _write_json(folder / MODEL, {"adapter": _component(model.adapters[name]), **_heads_json(model, tasks)})


def write_head(model: AdaptedModel, tasks: Sequence[TaskSpec], folder: Path) -> None:
    """Heads on the bare backbone."""
    _write_heads(model, tasks, folder)
    _write_json(folder / MODEL, _heads_json(model, tasks))


def write_whole(model: AdaptedModel, tasks: Sequence[TaskSpec], folder: Path) -> None:
    """A fine-tuned backbone with its tokenizer, an ordinary Hugging Face folder in `backbone`, and its heads."""
    model.backbone.save_pretrained(folder / BACKBONE)
    if model.info.tokenizer is not None:
        model.info.tokenizer.save_pretrained(folder / BACKBONE)
    write_head(model, tasks, folder)


def write_fusion(
    model: AdaptedModel,
    name: str,
    tasks: Sequence[TaskSpec],
    folder: Path,
    *,
    parents: dict[str, Path],
    tuned: bool,
) -> None:
    """A fusion, its heads, and the adapters it cannot find again by name: foreign ones, and tuned ones."""
    store.save_tensors(folder / FUSION, model.fusions[name].state_dict())
    _write_heads(model, tasks, folder)
    adapters = list(parents)
    fused = {"name": name, "adapters": adapters, **_component(model.fusions[name])}
    _write_json(folder / MODEL, {"fusion": fused, "tuned": tuned, **_heads_json(model, tasks)})
    for parent, source in parents.items():
        own = safe_name(split_choice(parent)[0] if tasks_apart(source) else parent)
        copied = folder / PARENTS / own
        if source.resolve() != (folder.parent.parent / "adapters" / own).resolve() and not copied.exists():
            shutil.copytree(source, copied)
        if tuned:
            store.save_tensors(folder / _tuned(parent), model.adapters[parent].state_dict())


def _tuned(adapter: str) -> str:
    return f"tuned.{safe_name(adapter)}.safetensors"


def weights_sha256(folder: Path) -> str:
    """What a fusion remembers of an adapter: the sha256 of its weights."""
    return store.Manifest.read(folder, kind="adapter").files[ADAPTER]


def load_model(
    folder: Path, *, adapters: Sequence[str] | None = None, backbone: str | Path | None = None
) -> AdaptedModel:
    """The model of an artefact, active and in evaluation mode; `backbone` says where its backbone lies now."""
    manifest = store.verify(folder)
    whole = manifest.kind == "model"
    spec = _own_backbone(folder, manifest, backbone) if whole else backbone_spec(manifest, backbone)
    model = AdaptedModel(load_backbone(spec))
    if manifest.kind == "adapter":
        name = load_adapter_into(model, folder, None)
        model.set_active(_subset([name], adapters), head=_first_head(read_model(folder)))
    elif whole or manifest.kind == "head":
        if not whole:
            check_backbone(model, manifest, folder)
        saved = read_model(folder)
        _subset([], adapters)
        _load_heads(model, saved, folder)
        model.set_active(None, head=_first_head(saved))
    else:
        load_fusion_into(model, folder, manifest, adapters)
    model.requires_grad_(False)
    model.eval()
    return model


def backbone_spec(manifest: store.Manifest, path: str | Path | None = None) -> BackboneSpec:
    """The spec of the backbone an artefact was trained on.

    Where the weights of a kind come from is for the installed config to say, and whatever is loaded must
    have the recorded fingerprint.
    """
    saved = dict(manifest.config["backbone"])
    values = {key: saved[key] for key in _PORTABLE if key in saved}
    if path is not None:
        values["path"] = str(path)
    spec: BackboneSpec = registry.build("backbone", str(saved["kind"]), **values)
    return spec


def _own_backbone(folder: Path, manifest: store.Manifest, path: str | Path | None) -> BackboneSpec:
    """The spec of a fine-tuned backbone, which its artefact holds."""
    if path is not None:
        raise PipelineError(
            f"'{manifest.name}' holds a fine-tuned backbone of its own",
            where="backbone.path",
            hint="leave it out",
        )
    spec = backbone_spec(manifest, folder / BACKBONE)
    return replace(spec, revision=None, pooling=manifest.backbone["pooling"])


def load_adapter_into(
    model: AdaptedModel, folder: Path, name: str | None, *, head: bool = True, verified: bool = False
) -> str:
    """Adds a saved adapter (and its heads) to a model on the same backbone; returns its name there.

    Where it differs by task, the name `x:snli` makes it the one for snli alone.
    """
    manifest = (
        store.Manifest.read(folder, kind="adapter") if verified else store.verify(folder, kind="adapter")
    )
    check_backbone(model, manifest, folder)
    name = manifest.name if name is None else name
    saved = read_model(folder)
    spec, state = _spec("adapter", saved["adapter"], folder), store.load_tensors(folder / ADAPTER)
    task = split_choice(name)[1]
    if task in tasks_apart(folder):
        spec, state = spec.of_task(task, state)
    model.add_adapter(name, spec)
    store.load_strict(model.adapters[name], state, where=str(folder / ADAPTER))
    if head:
        _load_heads(model, saved, folder)
    return name


def load_fusion_into(
    model: AdaptedModel, folder: Path, manifest: store.Manifest, adapters: Sequence[str] | None = None
) -> None:
    """Adds a saved fusion with its adapters and heads, and makes it active."""
    check_backbone(model, manifest, folder)
    saved = read_model(folder)
    fused = saved["fusion"]
    for name in fused["adapters"]:
        load_adapter_into(model, find_parent(folder, manifest, name), name, head=False)
        if saved["tuned"]:
            path = folder / _tuned(name)
            store.load_strict(model.adapters[name], store.load_tensors(path), where=str(path))
    model.add_fusion(fused["name"], _spec("fusion", fused, folder), fused["adapters"])
    store.load_strict(
        model.fusions[fused["name"]], store.load_tensors(folder / FUSION), where=str(folder / FUSION)
    )
    _load_heads(model, saved, folder)
    model.set_active(_subset(fused["adapters"], adapters), fusion=fused["name"], head=_first_head(saved))


def _first_head(saved: dict[str, Any]) -> str | None:
    """The head that answers unless another is named; an imported artefact may have none."""
    return str(saved["tasks"][0]["name"]) if saved["tasks"] else None


def find_parent(folder: Path, manifest: store.Manifest, name: str) -> Path:
    """The folder of one of a fusion's adapters, with the very weights the fusion was trained over."""
    # An imported adapter may bear any name, and one of several that a generator makes lies in the generator's folder.
    owns = dict.fromkeys(safe_name(own) for own in (name, split_choice(name)[0]))
    wanted = next((p.get("sha256") for p in manifest.parents if p["name"] == name), None)
    inside, beside = folder / PARENTS, folder.resolve().parent.parent / "adapters"
    # Adapters that were trained with the fusion lie inside it, and its own manifest vouches for them.
    places = [place / own for own in owns for place in ([inside] if wanted is None else [inside, beside])]
    found = [place for place in places if (place / store.MANIFEST).is_file()]
    if not found:
        raise PipelineError(
            f"the fusion needs the adapter '{name}', which is gone",
            where=str(places[-1]),
            hint="put the adapter's folder there, or train it again with the same config and seed",
        )
    for place in found:
        if wanted is None or weights_sha256(place) == wanted:
            return place
    raise PipelineError(
        f"the adapter '{name}' is not the one this fusion was trained over: its weights differ",
        where=str(found[0]),
        hint="train the fusion again, or bring the former adapter back",
    )


def check_backbone(model: AdaptedModel, manifest: store.Manifest, folder: Path) -> None:
    """Refuses an artefact that was trained on other backbone weights."""
    theirs, ours = manifest.backbone, model.info.describe()
    if theirs.get("fingerprint") != ours["fingerprint"]:
        raise PipelineError(
            f"this was trained on another backbone: {theirs.get('name')} "
            f"({str(theirs.get('fingerprint'))[:12]}…), and here is {ours['name']} ({ours['fingerprint'][:12]}…)",
            where=str(folder),
            hint="set backbone= or backbone.path= as in its config.yaml, or train it on this backbone",
        )


def _subset(all_names: Sequence[str], chosen: Sequence[str] | None) -> list[str]:
    for name in chosen or ():
        if name not in all_names:
            raise PipelineError(
                f"there is no adapter '{name}' here", where="adapters", hint=did_you_mean(name, all_names)
            )
    return list(all_names) if not chosen else [name for name in all_names if name in chosen]


def _component(module: nn.Module) -> dict[str, Any]:
    assert isinstance(module, PerSite)
    values = asdict(module.spec)  # type: ignore[call-overload]
    target = registry.target_of(module.spec)
    return {"kind": values.pop("kind"), "values": values} | ({} if target is None else {"target": target})


def _spec(group: str, saved: dict[str, Any], folder: Path) -> Any:
    kind, values = saved["kind"], saved["values"]
    if kind in registry.options(group):
        return registry.build(group, kind, **values)
    return registry.build_recorded(group, kind, values, saved.get("target"), where=str(folder))


def _heads_json(model: AdaptedModel, tasks: Sequence[TaskSpec]) -> dict[str, Any]:
    heads = {task.name: model.head_spec(task.name).values() for task in tasks}
    targets = {task.type: registry.target_of(task_type(task.type)) for task in tasks}
    types = {name: target for name, target in targets.items() if target is not None}
    return {"heads": heads, "tasks": [asdict(task) for task in tasks]} | ({"types": types} if types else {})


def _write_heads(model: AdaptedModel, tasks: Sequence[TaskSpec], folder: Path) -> None:
    parts = {f"{task.name}/{k}": v for task in tasks for k, v in model.heads[task.name].state_dict().items()}
    store.save_tensors(folder / HEADS, parts)


def _load_heads(model: AdaptedModel, saved: dict[str, Any], folder: Path) -> None:
    tensors = store.load_tensors(folder / HEADS)
    for name, values in saved["heads"].items():
        model.add_head(name, HeadSpec(**values))
        own = {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")}
        store.load_strict(model.heads[name], own, where=str(folder / HEADS))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
