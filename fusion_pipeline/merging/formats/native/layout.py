"""Where the modules of a merge lie in an artefact of ours, and how their tensors are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from fusion_pipeline import registry
from fusion_pipeline.adapters import BottleneckSpec
from fusion_pipeline.adapters.lora import LoraSpec
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems
from fusion_pipeline.merging.formats.native.reading import linear_paths
from fusion_pipeline.merging.formats.uniform import OneScale
from fusion_pipeline.merging.merged import Merged, zero_update
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.source import PARAMETERS
from fusion_pipeline.merging.update import Update

Put = Callable[[str, Tensor], None]


class Layout(Protocol):
    """One sort of adapter: its kind, what to say of it, and its tensors."""

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        ...

    @property
    def kind(self) -> str:
        """The adapter kind, `configs/adapter/<kind>.yaml`."""
        ...

    def check(self, plan: Plan, widths: Mapping[str, tuple[int, int]]) -> None:
        """Refuses modules that a backbone's linears, (D_in, D_out) by our names, have not the widths for."""
        ...

    def shapes(self, plan: Plan) -> dict[str, tuple[int, ...]]:
        """{our key: shape} of every tensor."""
        ...

    def fill(self, plan: Plan, modules: Iterable[Merged], put: Put) -> Any:
        """Puts every tensor, module by module; returns the adapter's spec."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoraLayout:
    """LoRA with one rank and one scale: smaller ranks are filled up with zeros, other scales go into B.

    `sites` are our names by path, `query.3`; `every` has also the sites of used layers that no path has: they are zero.
    """

    sites: Mapping[str, str]
    every: tuple[str, ...]
    skipped: tuple[int, ...]
    dropout: float
    notes: list[str]
    kind: str = "lora"

    def check(self, plan: Plan, widths: Mapping[str, tuple[int, int]]) -> None:
        """Every module against its linear."""
        problems = Problems("these modules have other widths than the backbone", "backbone")
        for path in plan.modules:
            d_out, d_in = plan.outer[path]
            wanted = widths.get(_row(self.sites[path]), (d_in, d_out))
            if wanted != (d_in, d_out):
                problems.add(f"{path}: {d_in} to {d_out}, and the linear is {wanted[0]} to {wanted[1]}")
        problems.refuse()

    def shapes(self, plan: Plan) -> dict[str, tuple[int, ...]]:
        """A and B of every site."""
        rank, outer, found = self._rank(plan), self._outer(plan), dict[str, tuple[int, ...]]()
        for site in self.every:
            d_out, d_in = outer[_row(site)]
            found |= {f"{site}.down": (rank, d_in), f"{site}.up": (d_out, rank)}
        return found

    def fill(self, plan: Plan, modules: Iterable[Merged], put: Put) -> LoraSpec:
        """Merged sites as they come, then the zeros."""
        rank, scale, outer = self._rank(plan), OneScale(), self._outer(plan)
        for merged in modules:
            assert merged.update is not None
            _put(put, self.sites[merged.path], scale.applied(merged.update).padded(rank))
        for site in set(self.every) - set(self.sites.values()):
            _put(put, site, zero_update(outer[_row(site)]).padded(rank))
        spec: LoraSpec = registry.build(
            "adapter",
            "lora",
            targets=list(dict.fromkeys(map(_row, self.every))),
            rank=rank,
            alpha=(scale.value or 1.0) * rank,
            dropout=self.dropout,
            skip_layers=list(self.skipped),
        )
        return spec

    def _rank(self, plan: Plan) -> int:
        return max(plan.ranks.values())

    def _outer(self, plan: Plan) -> dict[str, tuple[int, int]]:
        return {_row(self.sites[path]): plan.outer[path] for path in plan.modules}


@dataclass(frozen=True, kw_only=True)
class BottleneckLayout:
    """Bottlenecks: the first input's settings, as wide as the method makes it."""

    spec: BottleneckSpec
    notes: list[str]

    @property
    def kind(self) -> str:
        """Of the first input."""
        return self.spec.kind

    def check(self, plan: Plan, widths: Mapping[str, tuple[int, int]]) -> None:
        """Nothing: bottlenecks are of our own making, and come with their backbone."""

    def shapes(self, plan: Plan) -> dict[str, tuple[int, ...]]:
        """Every parameter under its own name."""
        found = dict[str, tuple[int, ...]]()
        for path in plan.modules:
            (d_out, d_in), width = plan.outer[path], plan.ranks[path]
            found |= {f"{path}.down.weight": (width, d_in), f"{path}.down.bias": (width,)}
            found |= {f"{path}.up.weight": (d_out, width), f"{path}.up.bias": (d_out,)}
        return found

    def fill(self, plan: Plan, modules: Iterable[Merged], put: Put) -> BottleneckSpec:
        """As they come."""
        for merged in modules:
            for part, tensor in merged.parameters.items():
                put(f"{merged.path}.{part}", tensor)
        return self.spec


def layout_of(plan: Plan, backbone: Mapping[str, Any]) -> Layout:
    """The layout of a plan's result on a backbone, which a manifest describes."""
    if plan.kind == PARAMETERS:
        return _bottlenecks(plan)
    return _lora(plan, str(backbone["model_type"]), int(backbone["layers"]))


def _lora(plan: Plan, model_type: str, layers: int) -> LoraLayout:
    """Our site of every path; paths that are no linear of the backbone's family are refused together."""
    paths = linear_paths(model_type)
    if paths is None:
        sites = {path: path for path in plan.modules}
    else:
        known = {text.format(i): f"{row}.{i}" for row, text in paths.items() for i in range(layers)}
        sites = {path: known.get(path) or known.get(path.partition(".")[2], "") for path in plan.modules}
    problems = Problems(f"these modules have no place in a backbone of type {model_type}", "format")
    for path, site in sites.items():
        if not site:
            problems.add(path)
    problems.refuse(hint="format=peft keeps them")
    order = list(paths) if paths else []
    rows = sorted({_row(s) for s in sites.values()}, key=lambda r: order.index(r) if r in order else 0)
    used = sorted({int(site.split(".")[1]) for site in sites.values()})
    every = tuple(f"{row}.{layer}" for row in rows for layer in used)
    zeros = len(every) - len(sites)
    told = [f"{zeros} sites that no adapter has are there as zeros"] if zeros else []
    if len(set(plan.ranks.values())) > 1:
        told.append(f"all sites have rank {max(plan.ranks.values())}, filled up with zeros")
    return LoraLayout(
        sites=sites,
        every=every,
        skipped=tuple(i for i in range(layers) if i not in used),
        dropout=next((float(s.config["dropout"]) for s in plan.sources if s.format == "native"), 0.0),
        notes=told,
    )


def _bottlenecks(plan: Plan) -> BottleneckLayout:
    """The layout of a merged bottleneck adapter."""
    values = dict(plan.sources[0].config)
    spec: BottleneckSpec = registry.build("adapter", values.pop("kind"), **values)
    widths = set(plan.ranks.values())
    if plan.method.widths_add:
        if len(widths) > 1:
            raise PipelineError(
                f"the sites would be {sorted(widths)} wide, and have one width", where="method"
            )
        spec = replace(spec, width=widths.pop())
    return BottleneckLayout(spec=spec, notes=[])


def _put(put: Put, site: str, update: Update) -> None:
    put(f"{site}.down", update.down)
    put(f"{site}.up", update.up)


def _row(site: str) -> str:
    return site.split(".")[0]
