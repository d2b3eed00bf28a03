"""Bottlenecks made by a hypernetwork (HyperFormer: Karimi Mahabadi et al., ACL 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import LowRankAdapter
from fusion_pipeline.adapters.settings import Narrow, require, require_activation, require_dropout
from fusion_pipeline.adapters.spec import Between, LowRank


@dataclass(frozen=True, kw_only=True)
class HyperSpec(Narrow):
    """Settings of adapters that one generator makes for all sites (HyperFormer++, section 2.3 of the paper).

    `embedding` is e, the width of the task's and the site's embedding. One task an artefact: z is the task's.
    Parameters at a site: e; in common 2e² + 2e + e·(R·D_in + R + D_out·R + D_out), which every site uses.
    Raises `PipelineError` for a value out of range, and for sites of different widths.
    """

    kind: str = "hyper"
    embedding: int = 16
    activation: str = "gelu"
    dropout: float = 0.0
    scaling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.embedding >= 1, "embedding", self.embedding, "a whole number of at least 1")
        require_dropout(self.dropout)
        require_activation(self.activation)

    def build(self, d_in: int, d_out: int) -> Hyper:
        """The adapter module for one site, with a generator that becomes common to all."""
        return Hyper(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """e: the site's embedding."""
        return self.embedding

    def common_count(self, d_in: int, d_out: int) -> int:
        """2e² + 2e + e·(R·D_in + R + D_out·R + D_out): projector, task embedding, generator."""
        width, e = self.bottleneck(d_in), self.embedding
        return 2 * e * e + 2 * e + e * (width * d_in + width + d_out * width + d_out)


class Hyper(LowRankAdapter):
    """Δ(x) = s·(U drop(φ(D x + b)) + c) with (D, b, U, c) = generator(site embedding)."""

    common = ("generator",)

    def __init__(self, spec: HyperSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        self.site = nn.Parameter(torch.randn(spec.embedding))
        self.generator = Generator(spec, d_in, d_out)

    def low_rank(self) -> LowRank:
        """What the generator makes for this site."""
        down, down_bias, up, up_bias = self.generator(self.site)
        return LowRank(
            down=down,
            down_bias=down_bias,
            up=up,
            up_bias=up_bias,
            scale=self.spec.scaling,
        )

    def between(self) -> Between:
        """Activation and dropout as the settings say."""
        return Between(
            width=self.generator.shapes[1][0],
            activation=self.spec.activation,
            function=ACTIVATIONS[self.spec.activation],
            dropout=self.spec.dropout if self.training else 0.0,
        )


class Generator(nn.Module):
    """I = relu(P [z; l] + p); D = W_D I, b = W_b I, U = W_U I, c = W_c I.

    Shapes: task z and site l (e,) → I (e,) → D (R, D_in), b (R,), U (D_out, R), c (D_out,). W_U and W_c start at
    zero, so that training starts at the bare backbone.
    """

    def __init__(self, spec: HyperSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        width, e = spec.bottleneck(d_in), spec.embedding
        self.shapes = ((width, d_in), (width,), (d_out, width), (d_out,))
        self.task = nn.Parameter(torch.randn(e))
        self.projector = nn.Linear(2 * e, e)
        self.down = nn.Parameter(torch.randn(width * d_in + width, e) * (2 / (e * d_in)) ** 0.5)
        self.up = nn.Parameter(torch.zeros(d_out * width + d_out, e))

    def forward(self, site: Tensor) -> list[Tensor]:
        """D, b, U and c of a site."""
        made = torch.relu(self.projector(torch.cat([self.task, site])))
        flat = torch.cat([self.down @ made, self.up @ made])
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        return [piece.view(shape) for piece, shape in zip(flat.split(sizes), self.shapes, strict=True)]
