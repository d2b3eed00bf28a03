"""Opens a LoRA that PEFT saved; whatever could not be merged is refused, never dropped."""

from __future__ import annotations

from pathlib import Path

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.peft import files, settings
from fusion_pipeline.interop.peft.matrices import key_parts, scale_of
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.interop.reading import read_json
from fusion_pipeline.merging import tensor_file
from fusion_pipeline.merging.pairs import paired
from fusion_pipeline.merging.source import UPDATES, Base, Source


def holds(folder: Path) -> bool:
    """Whether the folder's config is PEFT's."""
    path = folder / files.CONFIG
    return path.is_file() and files.KIND in read_json(path)


def open_source(folder: Path, file: Path | None, name: str) -> Source:
    """The LoRA in the folder; refuses whatever has no place in a merge, all of it at once."""
    config, where = files.read_config(folder), str(folder)
    weights = file or folder / files.WEIGHTS
    if not weights.is_file():
        pickled = (
            f" ({files.PICKLED} is a pickle and is not read)" if (folder / files.PICKLED).exists() else ""
        )
        raise PipelineError(f"the weights are missing: no {weights.name}{pickled}", where=where)
    kind = settings.check(config, where)
    if kind != "LORA":
        raise PipelineError(f"peft_type={kind} has no updates that could be merged", where=where)
    problems = Problems("this adapter cannot be merged", where)
    found = paired(tensor_file.shapes(weights), key_parts, problems)
    entries = {path: entry.scaled(scale_of(config, path, entry.rank, where)) for path, entry in found.items()}
    base = config.get("base_model_name_or_path")
    return Source(
        name=name,
        format="peft",
        folder=folder,
        file=weights,
        kind=UPDATES,
        base=Base(name=str(base) if base else None),
        entries=entries,
        config=config,
    )
