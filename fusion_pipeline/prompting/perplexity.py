"""Perplexity on a reference text, by a window that slides over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.prompting.base import Base
from fusion_pipeline.prompting.spec import GenerationSpec


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """exp of the mean negative log-likelihood (nats a token) and the tokens it is the mean of."""

    perplexity: float
    loss: float
    tokens: int


def check_reference(base: Base, text: str) -> list[int]:
    """The reference as tokens; refuses one that holds none to predict."""
    ids = list(base.tokenizer(text, verbose=False)["input_ids"])
    if len(ids) < 2:
        raise PipelineError(
            f"the reference text has {len(ids)} tokens, and each but the first is predicted",
            where="reference",
        )
    return ids


@torch.no_grad()
def perplexity(base: Base, ids: list[int], spec: GenerationSpec) -> Perplexity:
    """PPL = exp(−1/(N−1) Σ_{t=2..N} log p(x_t | x_{a(t)} … x_{t−1})), N tokens, every one but the first counted once.

    The window covers W = min(`window`, the model's positions) tokens and moves on by S = min(`stride`, W − 1); a token
    is scored in the first window that holds it and a token before it, so that a(t) leaves it at least W − S tokens
    of context, or all there are. The mean is over tokens, not over windows.
    """
    width = spec.window if base.positions is None else min(spec.window, base.positions)
    stride, device = min(spec.stride, width - 1), next(base.model.parameters()).device
    total, counted, start = 0.0, 1, 0
    while counted < len(ids):
        window = torch.tensor([ids[start : start + width]], device=device)
        logits = base.model(input_ids=window, use_cache=False).logits[0, :-1].double()
        # Targets before `counted` were scored by an earlier window.
        fresh = counted - start - 1
        total += float(F.cross_entropy(logits[fresh:], window[0, 1 + fresh :], reduction="sum"))
        counted = start + window.shape[1]
        start += stride
    loss = total / (len(ids) - 1)
    return Perplexity(perplexity=math.exp(loss) if loss < 700 else math.inf, loss=loss, tokens=len(ids) - 1)
