"""How far adapters and their merge move a backbone's outputs, on a probe of texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from fusion_pipeline.merging.plan import Plan
    from fusion_pipeline.model import AdaptedModel

MOST = 64


def read_probe(value: object) -> list[str]:
    """The texts of a file, a line each, at most 64; without one, the installed prompts and their reference's lines."""
    if value is None:
        from fusion_pipeline.prompting.questions import read_prompts

        found = read_prompts("general")
        return [*(prompt.text for prompt in found.prompts), *(found.reference or "").splitlines()][:MOST]
    path = Path(str(value)).expanduser()
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise PipelineError("the probe cannot be read as text", where=f"probe={path}") from error
    kept = [line for line in lines if line][:MOST]
    if not kept:
        raise PipelineError("the probe holds no text", where=f"probe={path}")
    return kept


def shifts(model: AdaptedModel, plan: Plan, texts: Sequence[str]) -> dict[str, Any]:
    """For each input and the merge, the mean over tokens of ‖h − h₀‖ / ‖h₀‖, h₀ the bare backbone's last states.

    `to_merged`: the cosine between an input's shift h − h₀ and the merge's, of all tokens together.
    """
    from fusion_pipeline.merging.loading import load_merge
    from fusion_pipeline.merging.methods.linear import Linear
    from fusion_pipeline.merging.plan import Plan

    bare = _states(model, None, texts)
    load_merge(model, plan, "merged")
    moved = _states(model, "merged", texts) - bare
    sizes, angles = dict[str, float](), dict[str, float]()
    for source in plan.sources:
        load_merge(model, Plan(sources=[source], method=Linear()), "input")
        own = _states(model, "input", texts) - bare
        sizes[source.name] = _size(own, bare)
        angles[source.name] = float(torch.cosine_similarity(own.flatten(), moved.flatten(), dim=0))
    return {"texts": len(texts), "merged": _size(moved, bare), "inputs": sizes, "to_merged": angles}


@torch.no_grad()
def _states(model: AdaptedModel, adapter: str | None, texts: Sequence[str]) -> Tensor:
    """The last hidden states of all real tokens (n, D), in float64."""
    from fusion_pipeline.training.encoding import encode_texts

    model.eval()
    model.set_active(adapter)
    encoded, found = encode_texts(list(texts), None, model.info), []
    device = next(model.parameters()).device
    for index in range(len(encoded)):
        ids = torch.as_tensor(encoded.example(index)["input_ids"]).long().unsqueeze(0).to(device)
        out = model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        found.append(out.last_hidden_state[0].double().cpu())
    model.set_active(None)
    return torch.cat(found)


def _size(moved: Tensor, bare: Tensor) -> float:
    return float((moved.norm(dim=-1) / bare.norm(dim=-1).clamp_min(1e-12)).mean())
