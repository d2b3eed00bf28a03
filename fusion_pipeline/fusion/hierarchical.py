"""A fusion of fusions: groups of adapters are fused, then the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fusion_pipeline import registry
from fusion_pipeline.adapters.bank import Bank, LowRankBank
from fusion_pipeline.adapters.delta_bank import DeltaBank
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion.groups import Groups, assign, check_groups
from fusion_pipeline.fusion.spec import Fused, Fusion, FusionSpec
from fusion_pipeline.sites.site import SiteInput


@dataclass(frozen=True, kw_only=True)
class HierarchicalSpec:
    """Settings of a fusion of fusions.

    `groups`: {group: [adapters]}, null for consecutive pairs. `inner` fuses each group, `outer` the groups; both are
    names of fusions with `inner_options` and `outer_options` in place of their yaml's values.
    A group of one is its adapter, without an inner fusion.
    Mixes deltas of adapters, then of groups; the weights of a token sum to 1 where they do at both levels.
    Parameters: those of one inner fusion for each group of two or more, and of the outer one.
    Raises `PipelineError` for settings that its parts or groups refuse.
    """

    kind: str = "hierarchical"
    groups: dict[str, Any] | None = None
    inner: str = "adapterfusion"
    outer: str = "adapterfusion"
    inner_options: dict[str, Any] | None = None
    outer_options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.groups is not None:
            check_groups(self.groups)
        self.part("inner")
        self.part("outer")

    def part(self, level: str) -> FusionSpec:
        """The checked settings of `inner` or `outer`."""
        name, options = getattr(self, level), getattr(self, f"{level}_options") or {}
        try:
            spec: FusionSpec = registry.build("fusion", name, **options)
        except PipelineError as error:
            key = f"fusion.{level}" if name not in registry.options("fusion") else f"fusion.{level}_options"
            raise PipelineError(f"{level}: {error.what}", where=key, hint=error.hint) from error
        return spec

    @property
    def wants(self) -> frozenset[str]:
        """What either level asks for."""
        return self.part("inner").wants | self.part("outer").wants

    def build(self, d_in: int, d_out: int, adapters: Sequence[str]) -> Hierarchical:
        """The fusion of one site."""
        groups = assign(self.groups, adapters)
        inner = {
            group: self.part("inner").build(d_in, d_out, members)
            for group, members in groups.items()
            if len(members) > 1
        }
        return Hierarchical(groups, inner, self.part("outer").build(d_in, d_out, tuple(groups)))


class Hierarchical(Fusion):
    """Δ = outer over Δ_g = inner_g over the adapters of g; w_n = outer weight of n's group · inner weight of n.

    Some of the adapters: groups shrink, and those left empty are out.
    Shapes: x (…, D_in) → delta (…, D_out), weights (…, N). The groups' deltas are built, G × tokens × D_out.
    """

    def __init__(self, groups: Groups, inner: dict[str, Fusion], outer: Fusion) -> None:
        super().__init__()
        self.groups = groups
        # By number: torch refuses module names with dots.
        self.inner = nn.ModuleDict({str(n): inner[g] for n, g in enumerate(groups) if g in inner})
        self.outer = outer
        self.sums_to_one = all(fusion.sums_to_one for fusion in self._parts())
        self._kept: tuple[Bank, dict[str, Bank]] | None = None

    def forward(self, site: SiteInput, bank: Bank) -> Fused:
        """The fused delta and each adapter's weight."""
        banks = self._banks(bank)
        fused = {group: self._fuse_group(group, site, part) for group, part in banks.items()}
        over = self.outer(site, DeltaBank(tuple(fused), [one.delta for one in fused.values()]))
        weights = {
            name: over.weights[..., g] * fused[group].weights[..., n]
            for g, (group, part) in enumerate(banks.items())
            for n, name in enumerate(part.names)
        }
        return Fused(over.delta, torch.stack([weights[name] for name in bank.names], dim=-1))

    def begin(self) -> None:
        """A new forward, for every part."""
        for fusion in self._parts():
            fusion.begin()

    def forget(self) -> None:
        """Drops what this and every part keep."""
        self._kept = None
        for fusion in self._parts():
            fusion.forget()

    def penalty(self) -> Tensor | None:
        """The sum of the parts' penalties."""
        terms = [fusion.penalty() for fusion in self._parts()]
        kept = [term for term in terms if term is not None]
        return torch.stack(kept).sum() if kept else None

    def _parts(self) -> list[Fusion]:
        return [m for m in (*self.inner.values(), self.outer) if isinstance(m, Fusion)]

    def _fuse_group(self, group: str, site: SiteInput, bank: Bank) -> Fused:
        key = str(list(self.groups).index(group))
        if key in self.inner:
            fused: Fused = self.inner[key](site, bank)
            return fused
        delta = bank.combine(site.x.new_ones(*site.x.shape[:-1], 1), bank.hidden(site.x))
        return Fused(delta, site.x.new_ones(*site.x.shape[:-1], 1))

    def _banks(self, bank: Bank) -> dict[str, Bank]:
        """The groups' banks; kept as long as the bank stays, so that what they stack and fold is kept too."""
        if torch.compiler.is_compiling() or not isinstance(bank, LowRankBank):
            return self._split(bank)
        if self._kept is None or self._kept[0] is not bank:
            self._kept = (bank, self._split(bank))
        return self._kept[1]

    def _split(self, bank: Bank) -> dict[str, Bank]:
        here = {g: [n for n in members if n in bank.names] for g, members in self.groups.items()}
        return {group: bank.subset(names) for group, names in here.items() if names}
