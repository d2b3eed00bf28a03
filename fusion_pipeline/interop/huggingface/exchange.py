"""A backbone with its heads as an ordinary Hugging Face folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.formats import Imported
from fusion_pipeline.interop.huggingface.classifier import as_classifier
from fusion_pipeline.interop.reading import write_json

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

WHOLE = True
HEADS, WEIGHTS = "fusion_pipeline_heads.json", "fusion_pipeline_heads.safetensors"


def needs(folder: Path) -> list[str]:
    """Nothing."""
    return []


def read(model: AdaptedModel, folder: Path, *, head: Path | None, adapters: Sequence[str]) -> Imported:
    """Refuses: such a folder is a backbone, and there is nothing to import."""
    raise PipelineError(
        "an ordinary model is a backbone, and needs no import", where="path", hint=f"backbone.path={folder}"
    )


def holds(folder: Path) -> bool:
    """Whether an export of ours lies here; models of other hands are never replaced."""
    return (folder / HEADS).is_file()


def write(model: AdaptedModel, folder: Path) -> list[str]:
    """Writes backbone, tokenizer and heads; a head that transformers has a class for becomes part of that model.

    Raises `PipelineError` where adapters are active: transformers' classes have no place for them.
    """
    if model.active_adapters:
        raise PipelineError(
            "transformers' own classes have no place for adapters",
            where="run",
            hint="format=adapterhub or peft, or the artefact of a baseline=full",
        )
    names = model.heads.names()
    whole = as_classifier(model, names[0]) if len(names) == 1 else None
    (model.backbone if whole is None else whole).save_pretrained(folder)
    if model.info.tokenizer is not None:
        model.info.tokenizer.save_pretrained(folder)
    said = {name: model.head_spec(name).values() for name in names}
    write_json(folder / HEADS, {"pooling": model.info.pooling, "heads": said})
    if whole is not None:
        return [f"read it with {type(whole).__name__}.from_pretrained: the same logits"]
    parts = {
        f"{name}/{key}": value for name in names for key, value in model.heads[name].state_dict().items()
    }
    store.save_tensors(folder / WEIGHTS, parts)
    return [
        f"read it with {type(model.backbone).__name__}.from_pretrained: the same hidden states",
        f"transformers has no class for {', '.join(names) or 'no head'} over pooling={model.info.pooling}: "
        f"the weights of heads are in {WEIGHTS}, what they are in {HEADS}",
    ]
