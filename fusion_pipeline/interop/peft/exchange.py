"""PEFT folders in and out: one LoRA or one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.adapters.lora import LoraSpec
from fusion_pipeline.adapters.prompt import PromptSpec
from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.formats import Imported
from fusion_pipeline.interop.peft import files, lora, prompt, settings
from fusion_pipeline.store import load_strict
from fusion_pipeline.tasks.names import safe_name

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

WHOLE = False


def needs(folder: Path) -> list[str]:
    """Nothing: there are no fusions in this format."""
    return []


def read(model: AdaptedModel, folder: Path, *, head: Path | None, adapters: Sequence[str]) -> Imported:
    """Reads the adapter in the folder, under the folder's name."""
    if head is not None:
        raise PipelineError("PEFT has no heads of its own", where="head_path")
    config, where = files.read_config(folder), str(folder)
    kind, tensors = settings.check(config, where), files.read_weights(folder)
    spec: LoraSpec | PromptSpec
    if kind == "LORA":
        spec, state, notes = lora.read(model, config, tensors, where)
    else:
        (spec, state), notes = prompt.read(tensors, where), []
    name = safe_name(folder.resolve().name)
    model.add_adapter(name, spec)
    load_strict(model.adapters[name], state, where=where)
    model.set_active(name)
    base = config.get("base_model_name_or_path") or "not recorded"
    return Imported(adapters=[name], notes=[*notes, f"the backbone it was trained on: {base}", _NO_HEAD])


def holds(folder: Path) -> bool:
    """Whether an adapter of this format lies here."""
    return (folder / files.CONFIG).is_file() and (folder / files.WEIGHTS).is_file()


def write(model: AdaptedModel, folder: Path) -> list[str]:
    """Writes the active LoRA or prompt."""
    names = model.active_adapters
    part = model.adapters[names[0]] if len(names) == 1 and model.active_fusion is None else None
    spec = part.spec if isinstance(part, PerSite) else None
    if not isinstance(part, PerSite) or not isinstance(spec, LoraSpec | PromptSpec):
        raise PipelineError("PEFT's format has a place for one LoRA or one prompt", where="run")
    write_kind = lora.write if isinstance(spec, LoraSpec) else prompt.write
    config, tensors = write_kind(model, part)
    shared = {"task_type": "FEATURE_EXTRACTION", "base_model_name_or_path": model.info.name}
    files.write(folder, {**shared, "inference_mode": True, **config}, tensors)
    heads = model.heads.names()
    left = [f"the heads {', '.join(heads)} were left out: PEFT has none of its own"] if heads else []
    return [*left, "read it with PeftModel.from_pretrained(AutoModel.from_pretrained(BASE), FOLDER)"]


_NO_HEAD = "there is no head: train one, or fuse the adapter with others"
