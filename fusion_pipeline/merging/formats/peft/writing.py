"""Writes a merged LoRA as PEFT saves one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.peft import files
from fusion_pipeline.interop.peft.matrices import STEM
from fusion_pipeline.interop.placing import check_place, placed
from fusion_pipeline.interop.reading import write_json
from fusion_pipeline.merging.formats.peft.reading import holds
from fusion_pipeline.merging.output import Writing
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.source import PARAMETERS
from fusion_pipeline.merging.tensor_file import TensorWriter

# What a PEFT input says of itself that is as true of the merge.
_KEPT = ("task_type", "base_model_name_or_path", "revision", "lora_dropout", "fan_in_fan_out", "auto_mapping")
_PLACES = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")


def check(plan: Plan, writing: Writing) -> None:
    """Refuses bottleneck adapters, and a folder that may not be replaced."""
    if plan.kind == PARAMETERS:
        raise PipelineError(
            "PEFT has no bottleneck adapters", where="format", hint="format=native keeps them"
        )
    for path in plan.modules:
        if "." not in named(plan, path):
            raise PipelineError(f"the path of {path} in transformers is not known", where="format")
    check_place(writing.output, holds, overwrite=writing.overwrite, what="adapter")


def place(plan: Plan, writing: Writing) -> AbstractContextManager[Path]:
    """A folder aside."""
    return placed(writing.output)


def write(plan: Plan, writing: Writing, folder: Path) -> list[str]:
    """`adapter_model.safetensors`, module by module, then `adapter_config.json`."""
    shapes = dict[str, tuple[int, ...]]()
    for path in plan.modules:
        (d_out, d_in), rank = plan.outer[path], plan.ranks[path]
        shapes |= {_key(plan, path, "A"): (rank, d_in), _key(plan, path, "B"): (d_out, rank)}
    scales = dict[str, float]()
    with TensorWriter(folder / files.WEIGHTS, shapes, plan.out_dtype) as file:
        for merged in writing.figures.watched(plan):
            assert merged.update is not None
            file.write(_key(plan, merged.path, "A"), merged.update.down)
            file.write(_key(plan, merged.path, "B"), merged.update.up)
            scales[merged.path] = merged.update.scale
    write_json(folder / files.CONFIG, _config(plan, scales))
    return []


def named(plan: Plan, path: str) -> str:
    """The module's path in the naming of the first PEFT input, or else of the first input."""
    word = plan.wrappers[_model(plan)]
    return f"{word}.{path}" if word else path


def _model(plan: Plan) -> int:
    return next((i for i, source in enumerate(plan.sources) if source.format == "peft"), 0)


def _key(plan: Plan, path: str, side: str) -> str:
    return f"{STEM}{named(plan, path)}.lora_{side}.weight"


def _config(plan: Plan, scales: Mapping[str, float]) -> dict[str, Any]:
    source = plan.sources[_model(plan)]
    given = source.config if source.format == "peft" else {}
    # Only an adapter that keeps its scales keeps the root in them.
    rooted = bool(given.get("use_rslora")) and len(plan.sources) == 1
    alphas = {
        path: scale * (plan.ranks[path] ** 0.5 if rooted else plan.ranks[path])
        for path, scale in scales.items()
    }
    rank, alpha = _common(plan.ranks.values()), _common(alphas.values())
    task = "CAUSAL_LM" if source.format == "mlx" else "FEATURE_EXTRACTION"
    base = next((s.base.name for s in plan.sources if s.base.name is not None), None)
    return {
        "peft_type": "LORA",
        "task_type": task,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "bias": "none",
        **{key: given[key] for key in _KEPT if key in given},
        **_places(plan, given),
        "r": rank,
        "lora_alpha": alpha,
        "use_rslora": rooted,
        "rank_pattern": _pattern(plan, plan.ranks, rank),
        "alpha_pattern": _pattern(plan, alphas, alpha),
    }


def _places(plan: Plan, given: Mapping[str, Any]) -> dict[str, Any]:
    own = plan.entries[_model(plan)]
    if given and set(own) == set(plan.modules):
        return {key: given[key] for key in _PLACES if key in given}
    # Whole paths: `output.dense` alone would be the attention's and the feed-forward's.
    return {"target_modules": sorted(named(plan, path) for path in plan.modules)}


def _common(values: Any) -> Any:
    return Counter(values).most_common(1)[0][0]


def _pattern(plan: Plan, values: Mapping[str, Any], default: Any) -> dict[str, Any]:
    return {re.escape(named(plan, path)): value for path, value in values.items() if value != default}
