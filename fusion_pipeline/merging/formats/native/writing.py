"""Writes a merged adapter as an artefact of ours: one rank and one scale for all sites, missing sites zero."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.card import merged_card
from fusion_pipeline.merging.figures import identity, notes
from fusion_pipeline.merging.formats.native.layout import Layout, layout_of
from fusion_pipeline.merging.formats.native.reading import WEIGHTS
from fusion_pipeline.merging.heads import copied_heads, head_source
from fusion_pipeline.merging.output import Writing
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.source import Source
from fusion_pipeline.merging.tensor_file import TensorWriter

# What scoring an artefact asks its manifest for, from the input whose heads it has.
_OF_TASK = ("task", "target", "data", "columns")


def check(plan: Plan, writing: Writing) -> None:
    """Refuses modules without a place here, heads that are not clear, and a name or folder that may not be used."""
    if plan.dtype not in (None, "float32"):
        raise PipelineError(f"artefacts of ours hold float32, not {plan.dtype}", where="dtype")
    backbone_of(plan, writing)
    _layout(plan, writing).check(plan, backbone_of(plan, writing).get("widths") or {})
    head_source(plan, writing.head_from)
    store.check_name(writing.output.name, where="output")
    if writing.output.exists() and any(writing.output.iterdir()):
        if not (writing.output / store.MANIFEST).is_file():
            raise PipelineError(
                "something that is no artefact lies where this one should go",
                where=str(writing.output),
                hint="another output=FOLDER or name=",
            )
        if not writing.overwrite:
            raise PipelineError(
                "another artefact lies here already",
                where=str(writing.output),
                hint="overwrite=true replaces it, name= or output= gives this one another place",
            )


def place(plan: Plan, writing: Writing) -> AbstractContextManager[Path]:
    """A folder aside, which gets its manifest when it is complete."""
    return store.publish(writing.output, manifest(plan, writing), overwrite=writing.overwrite)


def write(plan: Plan, writing: Writing, folder: Path) -> list[str]:
    """Weights, heads, `model.json`, `config.yaml` and the card."""
    layout = _layout(plan, writing)
    with TensorWriter(folder / WEIGHTS, layout.shapes(plan), "float32") as file:
        spec = layout.fill(plan, writing.figures.watched(plan), file.write)
    heads = head_source(plan, writing.head_from)
    values = asdict(spec)
    content = {"adapter": {"kind": values.pop("kind"), "values": values}, **copied_heads(heads, folder)}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    (folder / "model.json").write_text(text, encoding="utf-8")
    config = {**_task_config(heads), "adapter": asdict(spec)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    card = merged_card(manifest(plan, writing), writing.command, _head_note(heads))
    (folder / "README.md").write_text(card, encoding="utf-8")
    return [*layout.notes, _head_note(heads)]


def manifest(plan: Plan, writing: Writing) -> store.Manifest:
    """What the artefact is; its `merge` says what it was made of."""
    backbone, heads = backbone_of(plan, writing), head_source(plan, writing.head_from)
    from_heads = store.Manifest.read(heads.folder) if heads else None
    of_task = {k: v for k, v in (from_heads.config if from_heads else {}).items() if k in _OF_TASK}
    config = {
        "stage": "merge",
        "seed": plan.seed,
        **of_task,
        "backbone": backbone["config"],
        "adapter": {"kind": _layout(plan, writing).kind},
        "merge": identity(plan, form="native"),
        "head_from": heads.name if heads else None,
    }
    return store.Manifest(
        kind="adapter",
        name=writing.output.name,
        config=config,
        seed=plan.seed,
        backbone=dict(backbone["backbone"]),
        data=from_heads.data if from_heads else [],
        parents=[{"name": s.name, "sha256": d} for s, d in zip(plan.sources, plan.digests, strict=True)],
        notes=[*notes(plan), _head_note(heads)],
    )


def backbone_of(plan: Plan, writing: Writing) -> dict[str, Any]:
    """The backbone of the first native input, or the one that was given for inputs of other formats alone."""
    native = next((s for s in plan.sources if s.format == "native"), None)
    if native is not None:
        found = store.Manifest.read(native.folder)
        return {"backbone": found.backbone, "config": found.config["backbone"]}
    if writing.backbone is None:
        raise PipelineError(
            "an artefact of ours knows its backbone, and none of these adapters has one of ours",
            where="format",
            hint="backbone=NAME or backbone.path=FOLDER_OR_HUB_ID of the base model",
        )
    return dict(writing.backbone)


def _layout(plan: Plan, writing: Writing) -> Layout:
    return layout_of(plan, backbone_of(plan, writing)["backbone"])


def _task_config(heads: Source | None) -> dict[str, Any]:
    if heads is None:
        return {"task": None, "data": {}, "columns": {}}
    content = yaml.safe_load((heads.folder / "config.yaml").read_text(encoding="utf-8"))
    return {key: content[key] for key in _OF_TASK if isinstance(content, dict) and key in content}


def _head_note(heads: Source | None) -> str:
    return (
        "it has no head: train one, or fuse it" if heads is None else f"its heads are those of {heads.name}"
    )
