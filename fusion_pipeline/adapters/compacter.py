"""Compacter: bottlenecks made of Kronecker products (Karimi Mahabadi et al., NeurIPS 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_pipeline.activations import ACTIVATIONS
from fusion_pipeline.adapters.low_rank import LowRankAdapter
from fusion_pipeline.adapters.settings import Narrow, require, require_activation, require_dropout
from fusion_pipeline.adapters.spec import Between, LowRank
from fusion_pipeline.errors import PipelineError


@dataclass(frozen=True, kw_only=True)
class CompacterSpec(Narrow):
    """Settings of a bottleneck whose D and U are sums of Kronecker products (sections 3 and 4 of the paper).

    `terms` is n, which must divide D_in, D_out and R; `rank` is r. `share` keeps the n matrices A_i once for
    all sites and both projections, as the paper does.
    Parameters at a site: r·(D_in + 2R + D_out) + R + D_out; the A_i take n³ more, at every site or once.
    Raises `PipelineError` for a value out of range, and for terms that do not divide a width.
    """

    kind: str = "compacter"
    terms: int = 4
    rank: int = 1
    share: bool = True
    activation: str = "gelu"
    dropout: float = 0.0
    scaling: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.terms >= 1, "terms", self.terms, "a whole number of at least 1")
        require(self.rank >= 1, "rank", self.rank, "a whole number of at least 1")
        require_dropout(self.dropout)
        require_activation(self.activation)

    def build(self, d_in: int, d_out: int) -> Compacter:
        """The adapter module for one site."""
        for name, size in (("input", d_in), ("bottleneck", self.bottleneck(d_in)), ("output", d_out)):
            if size % self.terms:
                raise PipelineError(
                    f"{self.terms} terms do not divide the {name} of {size}",
                    where="adapter.terms",
                    hint="a divisor of the hidden size, and a multiple of it as adapter.width",
                )
        return Compacter(self, d_in, d_out)

    def parameter_count(self, d_in: int, d_out: int) -> int:
        """r·(D_in + 2R + D_out) + R + D_out, and n³ where the A_i are not shared."""
        width = self.bottleneck(d_in)
        own = self.rank * (d_in + 2 * width + d_out) + width + d_out
        return own + (0 if self.share else self.terms**3)

    def common_count(self, d_in: int, d_out: int) -> int:
        """n³ where the A_i are shared."""
        return self.terms**3 if self.share else 0


class Compacter(LowRankAdapter):
    """Δ(x) = s·(U drop(φ(D x + b)) + c) with D = Σ_i A_i ⊗ (s_i t_iᵀ), and U likewise over the same A_i.

    Shapes: A_i is (n, n), s_i (R/n, r) and t_i (D_in/n, r) for D (R, D_in); U's s_i start at zero.
    """

    def __init__(self, spec: CompacterSpec, d_in: int, d_out: int) -> None:
        super().__init__()
        self.spec = spec
        self.common = ("rule",) if spec.share else ()
        width = spec.bottleneck(d_in)
        self.rule = Rule(spec.terms)
        self.down = Factors(spec, width, d_in)
        self.up = Factors(spec, d_out, width)
        nn.init.zeros_(self.up.left)

    def low_rank(self) -> LowRank:
        """D and U, multiplied out."""
        return LowRank(
            down=self.down(self.rule.matrices),
            down_bias=self.down.bias,
            up=self.up(self.rule.matrices),
            up_bias=self.up.bias,
            scale=self.spec.scaling,
        )

    def between(self) -> Between:
        """Activation and dropout as the settings say."""
        return Between(
            width=self.down.bias.shape[0],
            activation=self.spec.activation,
            function=ACTIVATIONS[self.spec.activation],
            dropout=self.spec.dropout if self.training else 0.0,
        )


class Rule(nn.Module):
    """The n matrices A_i (n, n, n)."""

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.matrices = nn.Parameter(torch.randn(terms, terms, terms) / terms**0.5)


class Factors(nn.Module):
    """One projection's s_i (n, out/n, r) and t_i (n, in/n, r), and its bias."""

    def __init__(self, spec: CompacterSpec, d_out: int, d_in: int) -> None:
        super().__init__()
        rows, columns = d_out // spec.terms, d_in // spec.terms
        self.left = nn.Parameter(torch.empty(spec.terms, rows, spec.rank))
        self.right = nn.Parameter(torch.empty(spec.terms, columns, spec.rank))
        self.bias = nn.Parameter(torch.zeros(d_out))
        for factor in (self.left, self.right):
            # The product of both has the spread of a Glorot matrix.
            nn.init.normal_(factor, std=(2 / (spec.rank * (d_in + d_out))) ** 0.25)

    def forward(self, rule: Tensor) -> Tensor:
        """Σ_i A_i ⊗ (s_i t_iᵀ): (n, n, n) → (out, in)."""
        product = torch.einsum("nab,nir,njr->aibj", rule, self.left, self.right)
        return product.flatten(2).flatten(0, 1)
