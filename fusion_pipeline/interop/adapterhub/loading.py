"""Puts AdapterHub's adapters, fusions and heads into an `AdaptedModel`, with exactly their function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.adapterhub import adapter_config, fusion_config, head_config
from fusion_pipeline.interop.adapterhub.files import Saved, find_objects, read_object
from fusion_pipeline.interop.adapterhub.keys import KeyMap
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.store import load_strict

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel


def load_adapter(model: AdaptedModel, folder: Path, name: str | None = None) -> str:
    """Adds the adapter saved in `folder`; returns the name it got."""
    saved = read_object(folder, "adapter")
    check_base(model, saved)
    theirs = saved.name or folder.name
    name = theirs if name is None else name
    keys = KeyMap(model)
    model.add_adapter(
        name,
        adapter_config.read_config(saved.config, str(folder), placements=keys.facts.get("placements")),
    )
    part = model.adapters[name]
    try:
        _fill(part, keys, keys.adapter(part.state_dict(), theirs), saved)
    except PipelineError:
        model.adapters.drop(name)
        raise
    return name


def load_fusion(
    model: AdaptedModel, folder: Path, adapters: Sequence[str], name: str | None = None
) -> tuple[str, list[str]]:
    """Adds the fusion saved in `folder` over `adapters`, in its own order; returns its name and notes."""
    saved = read_object(folder, "fusion")
    check_base(model, saved)
    theirs = saved.name or ",".join(saved.config.get("adapter_names") or adapters)
    saved = _without_namesakes(saved, f"adapter_fusion_layer.{theirs}")
    name = theirs if name is None else name
    spec, notes = fusion_config.read_config(
        saved.config,
        str(folder),
        attention_dropout=_dropout(model, "attention_probs_dropout_prob", "attention_dropout", "attn_pdrop"),
        parallel=all(is_parallel(model, adapter) for adapter in adapters),
    )
    model.add_fusion(name, spec, adapters)
    part, keys = model.fusions[name], KeyMap(model)
    try:
        # A fusion there has weights in layers that its adapters leave out, and never uses them.
        _fill(
            part, keys, keys.fusion(part.state_dict(), theirs), saved, idle=_idle(model, part, keys, theirs)
        )
    except PipelineError:
        model.fusions.drop(name)
        raise
    return name, notes


def load_head(model: AdaptedModel, folder: Path, name: str | None = None) -> str:
    """Adds the head saved in `folder`, flexible or static; returns its name."""
    saved = read_object(folder, "head")
    saved = _without_namesakes(saved, f"heads.{saved.name}")
    check_base(model, saved)
    _check_pooling(model, folder)
    facts = KeyMap(model).facts.get("head")
    dropout = _dropout(
        model, "classifier_dropout", "hidden_dropout_prob", "seq_classif_dropout", "resid_pdrop"
    )
    plan = head_config.read_head(saved, facts, hidden_dropout=dropout)
    name = name or saved.name or "head"
    model.add_head(name, plan.spec)
    head = model.heads[name]
    tensors = {ours: saved.tensors[theirs] for ours, theirs in plan.keys.items() if theirs in saved.tensors}
    unknown = {key: value for key, value in saved.tensors.items() if key not in plan.keys.values()}
    if plan.base_dense is not None:
        tensors |= _of_base(model, plan.base_dense, str(folder))
    try:
        load_strict(head, {**tensors, **unknown}, where=str(folder))
    except PipelineError:
        model.heads.drop(name)
        raise
    return name


def fused_names(folder: Path) -> list[str]:
    """The adapters a saved fusion is made of, in its order."""
    config = read_object(folder, "fusion").config
    names = config.get("adapter_names") or str(config.get("name") or "").split(",")
    return [str(name) for name in names]


def active_names(folder: Path) -> tuple[Path, list[Path]]:
    """A set-up's fusion folder and those of its adapters, in the fusion's order."""
    fusion = find_objects(folder, "fusion")
    if len(fusion) != 1:
        raise PipelineError(f"a set-up has one fusion, and here are {len(fusion)}", where=str(folder))
    by_name = {read_object(place, "adapter").name: place for place in find_objects(folder, "adapter")}
    wanted = fused_names(fusion[0])
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise PipelineError(f"the fusion's adapters are missing: {', '.join(missing)}", where=str(folder))
    return fusion[0], [by_name[name] for name in wanted]


def is_parallel(model: AdaptedModel, adapter: str) -> bool:
    """Whether an adapter stands beside its sub-layer."""
    part = model.adapters[adapter]
    return isinstance(part, PerSite) and getattr(part.spec, "placement", "") == "parallel"


def check_base(model: AdaptedModel, saved: Saved) -> None:
    """Refuses what was trained on another family or width; other weights of the same shape cannot be told."""
    problems = Problems("this was trained on another backbone", str(saved.folder))
    ours = {"model_type": model.config.model_type, "hidden_size": model.config.hidden_size}
    for key, value in ours.items():
        theirs = saved.config.get(key)
        if theirs is not None and theirs != value:
            problems.add(f"{key}: {theirs} in the file, {value} here")
    theirs = saved.config.get("model_name") or "not recorded"
    problems.refuse(hint=f"its backbone is {theirs}: backbone.path=FOLDER_OR_HUB_ID")


def _idle(model: AdaptedModel, part: object, keys: KeyMap, name: str) -> Iterable[str]:
    assert isinstance(part, PerSite)
    own = {key.split(".", 2)[2] for key in part.state_dict()}
    layers = range(len(model.table.layer_list(model.backbone)))
    return keys.fusion(
        (f"{row}.{i}.{key}" for row in part.rows for i in layers for key in own), name
    ).values()


def _without_namesakes(saved: Saved, stem: str) -> Saved:
    """Without what begins with the same name: that library writes `heads.cb2` into the file of `heads.cb` too."""
    own = {key: value for key, value in saved.tensors.items() if stem not in key or f"{stem}." in key}
    return replace(saved, tensors=own)


def _fill(
    part: object, keys: KeyMap, wanted: dict[str, str], saved: Saved, *, idle: Iterable[str] = ()
) -> None:
    assert isinstance(part, PerSite)
    found = keys.pick(saved.tensors, wanted, part.state_dict(), str(saved.folder), idle=idle)
    load_strict(part, found, where=str(saved.folder))


def _check_pooling(model: AdaptedModel, folder: Path) -> None:
    wanted = model.table.pooling
    if model.info.pooling != wanted:
        raise PipelineError(
            f"this head reads the pooling '{wanted}', and the backbone is set to '{model.info.pooling}'",
            where=str(folder),
            hint=f"backbone.pooling={wanted}",
        )


def _of_base(model: AdaptedModel, path: str, where: str) -> dict[str, Tensor]:
    """The dense layer that is part of the base model there: BERT's pooler."""
    try:
        dense = model.backbone.get_submodule(path)
    except AttributeError:
        raise PipelineError(
            f"the head reads the base model's {path}, which is absent here", where=where
        ) from None
    return {f"dense.{key}": value for key, value in dense.state_dict().items()}


def _dropout(model: AdaptedModel, *names: str) -> float:
    """The first of these settings that the backbone's config has."""
    found = (getattr(model.config, name, None) for name in names)
    return float(next((value for value in found if value is not None), 0.0))
