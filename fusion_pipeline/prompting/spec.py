"""How texts are generated and scored in a comparison of prompts."""

from __future__ import annotations

from dataclasses import dataclass

from fusion_pipeline.backbone.spec import DTYPES
from fusion_pipeline.errors import PipelineError, require


@dataclass(frozen=True, kw_only=True)
class GenerationSpec:
    """How every contender generates, and how its perplexity is taken.

    Args:
        max_new_tokens: Tokens after the prompt, at most.
        temperature: 0 takes the likeliest token; above 0 draws from softmax(logits / temperature).
        top_p: Draws among the likeliest tokens that together have at least this probability.
        batch_size: Prompts at once. Changes the speed and nothing else.
        chat: Whether a prompt is wrapped as a user's turn by the tokenizer's chat template.
        window: Tokens the model sees at once where perplexity is taken; cut to what it has positions for.
        stride: By how many tokens the window moves on.
        dtype: What the base is loaded in.

    Raises `PipelineError` for a value out of range, and for `top_p` without a temperature.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    batch_size: int = 8
    chat: bool = False
    window: int = 1024
    stride: int = 512
    dtype: str = "float32"

    def __post_init__(self) -> None:
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "a whole number from 1")
        require(0 <= self.temperature < float("inf"), "temperature", self.temperature, "0 (greedy) or above")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "above 0, at most 1")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "a whole number from 1")
        require(self.window >= 2, "window", self.window, "a whole number from 2")
        require(
            1 <= self.stride < self.window, "stride", self.stride, f"1 to {self.window - 1}, below window"
        )
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of: {', '.join(DTYPES)}")
        if self.top_p < 1 and self.temperature == 0:
            raise PipelineError(
                "top_p chooses among drawn tokens, and temperature=0 draws none",
                where="top_p",
                hint="generation.temperature=0.7, or leave top_p out",
            )
