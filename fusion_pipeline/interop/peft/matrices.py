"""LoRA's matrices in PEFT's files, each with the site it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems

if TYPE_CHECKING:
    from fusion_pipeline.model import AdaptedModel

STEM = "base_model.model."
_KEY = re.compile(rf"^{re.escape(STEM)}(?P<path>.+)\.lora_(?P<side>[AB])\.weight$")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One linear's A (R, D_in) and B (D_out, R), and its scale s."""

    down: Tensor
    up: Tensor
    scale: float


def paths_of(model: AdaptedModel) -> dict[str, str]:
    """{path of a linear below the backbone: our site}, `encoder.layer.0.attention.self.query` → `query.0`."""
    found = {}
    for index, layer in enumerate(model.table.layer_paths(model.backbone)):
        for name in model.table.linears:
            tap = model.table.sites[name].write
            assert tap is not None
            found[f"{layer}.{tap.path}"] = f"{name}.{index}"
    return found


def pairs_of(
    model: AdaptedModel, config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str
) -> dict[str, Pair]:
    """{our site: its matrices}; every key without a place here, and every ill-shaped matrix, is named."""
    problems = Problems("the weights do not fit this backbone", where)
    places, sides = paths_of(model), dict[str, dict[str, Tensor]]()
    for key, value in tensors.items():
        parts = key_parts(key)
        # Saved below a whole model, every path has the base model's prefix: `bert.encoder.layer.0…`.
        path = None if parts is None else _known(parts[0], places)
        if parts is None or path is None:
            problems.add(f"unexpected: {key}")
            continue
        sides.setdefault(path, {})[parts[1]] = value
    for path, found in sides.items():
        _check_shapes(model, path, found, problems)
    if not sides:
        problems.add("there is no LoRA matrix")
    problems.refuse(hint="the backbone it was trained on: backbone.path=FOLDER_OR_HUB_ID")
    return {
        places[path]: Pair(
            down=found["A"], up=found["B"], scale=scale_of(config, path, found["A"].shape[0], where)
        )
        for path, found in sides.items()
    }


def key_parts(key: str) -> tuple[str, str] | None:
    """(path below the wrapped model, `A` or `B`) of a key; None where it is no LoRA matrix of a linear."""
    match = _KEY.match(key)
    return None if match is None else (match["path"], match["side"])


def _known(path: str, places: Mapping[str, str]) -> str | None:
    steps = path.split(".")
    candidates = (".".join(steps[start:]) for start in (0, 1))
    return next((name for name in candidates if name in places), None)


def _check_shapes(model: AdaptedModel, path: str, found: Mapping[str, Tensor], problems: Problems) -> None:
    if set(found) != {"A", "B"}:
        problems.add(f"missing: {path}.lora_{'B' if 'A' in found else 'A'}.weight")
        return
    row, _ = paths_of(model)[path].split(".")
    d_in, d_out = model.site_widths(row)
    rank = found["A"].shape[0]
    if rank == 0 or found["A"].shape != (rank, d_in) or found["B"].shape != (d_out, rank):
        shapes = f"{tuple(found['A'].shape)} and {tuple(found['B'].shape)}"
        problems.add(f"shape of {path}: {shapes}, and the linear is {d_in} to {d_out}")


def scale_of(config: Mapping[str, Any], path: str, rank: int, where: str) -> float:
    """alpha / R, or alpha / √R, with the linear's own alpha where a pattern gives one."""
    alpha = _patterned(config.get("alpha_pattern") or {}, path, config.get("lora_alpha", 8), where)
    return float(alpha) / (rank**0.5 if config.get("use_rslora") else rank)


def _patterned(patterns: Mapping[str, Any], path: str, default: Any, where: str) -> Any:
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", path):
                return value
        except re.error as error:
            raise PipelineError(f"'{pattern}' is no pattern: {error}", where=where) from error
    return default
