"""Prompt tuning: virtual tokens before the input (Lester et al., EMNLP 2021). The one kind that adds no delta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters.settings import require, require_name
from fusion_pipeline.sites import input as prompted

if TYPE_CHECKING:
    from fusion_pipeline.sites.table import SiteTable

INITS = ("vocabulary", "normal")


@dataclass(frozen=True, kw_only=True)
class PromptSpec:
    """A prompt's settings (Lester et al. 2021, section 2).

    `length` is P. `init`: `vocabulary` starts at the embeddings of words drawn at random (section 2.1), `normal` at
    N(0, init_std). Parameters: P·E, E the width of the word embeddings.
    A prompt changes the input, so it cannot be fused; it stacks with one adapter or a fusion of others.
    Raises `PipelineError` for a value out of range.
    """

    kind: str = "prompt"
    length: int = 20
    init: str = "vocabulary"
    init_std: float = 0.5

    def __post_init__(self) -> None:
        require(self.length >= 1, "length", self.length, "a whole number of at least 1")
        require(self.init_std >= 0, "init_std", self.init_std, "0 or more")
        require_name("init", self.init, INITS)

    @property
    def skip_layers(self) -> tuple[int, ...]:
        """None: it comes before all layers."""
        return ()

    def rows(self, table: SiteTable) -> tuple[str, ...]:
        """The input, whatever the family."""
        return (prompted.ROW,)

    def build(self, d_in: int, d_out: int) -> Prompt:
        """The virtual tokens, E wide."""
        return Prompt(self, d_in)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """P·E."""
        return self.length * d_in

    def for_tasks(self, tasks: Sequence[str]) -> PromptSpec:
        """The same: one prompt for all of them."""
        return self

    def common_count(self, d_in: int, d_out: int) -> int:
        """0."""
        return 0


class Prompt(nn.Module):
    """V: P virtual tokens of width E, which stand before a text's own embeddings.

    Shapes: nothing → (P, E).
    """

    def __init__(self, spec: PromptSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.tokens = nn.Parameter(torch.randn(spec.length, width) * spec.init_std)

    def start_from(self, embedding_VE: Tensor) -> None:
        """Takes the embeddings of words drawn at random, where the settings ask for that."""
        if self.spec.init == "vocabulary":
            drawn = torch.randint(len(embedding_VE), (self.spec.length,))
            with torch.no_grad():
                self.tokens.copy_(embedding_VE[drawn.to(embedding_VE.device)])

    def forward(self) -> Tensor:
        """The virtual tokens."""
        return self.tokens
