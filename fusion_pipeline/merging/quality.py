"""How well adapters go together and what merging did to them, module by module, in the space of the factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fusion_pipeline.merging.paths import bare, layer_of, wrappers
from fusion_pipeline.merging.source import PARAMETERS, Source
from fusion_pipeline.merging.update import Update, gram

if TYPE_CHECKING:
    from fusion_pipeline.merging.plan import Plan

# Elements of each ΔW whose signs are looked at; a smaller ΔW is looked at whole.
SAMPLED = 65_536


@dataclass(frozen=True, kw_only=True)
class ModuleQuality:
    """One module of a merge of N inputs.

    Args:
        path: The module.
        layer: Its layer, None outside of the layers.
        cosines: ⟨ΔWᵢ, ΔWⱼ⟩ / ‖ΔWᵢ‖‖ΔWⱼ‖, (N, N); 0 where an update is zero.
        to_merged: The cosine of each input's update with the merged one, (N,).
        conflicts: Mean over pairs: of the elements that both change, the share in which their weighted signs differ.
        norms: ‖ΔWᵢ‖_F of the inputs.
        norm: ‖ΔW‖_F of the merge.
        effective_ranks: Of each input, and last of the merge; None of bottlenecks, which are no one matrix.
        discarded: The share of ‖ΔW‖² that cutting the rank took.
    """

    path: str
    layer: int | None
    cosines: list[list[float]]
    to_merged: list[float]
    conflicts: float
    norms: list[float]
    norm: float
    effective_ranks: list[float] | None
    discarded: float


def qualities(plan: Plan, merged: Source, record: Mapping[str, Any], seed: int = 0) -> list[ModuleQuality]:
    """Every module's figures, of the inputs and of the merged adapter as it was written; no ΔW is built for them.

    Inner products are tr((B₂ᵀB₁)(A₁A₂ᵀ))·s₁s₂ (`Update.inner`). Of bottlenecks, whose parameters were merged, the
    vector of all parameters of a site takes the update's place, narrower ones filled up with zeros: the same function.
    """
    ours, theirs = wrappers([list(plan.modules), list(merged.entries)], ["the inputs", merged.name])
    places = {bare(path, theirs): path for path in merged.entries}
    found = []
    for path in plan.modules:
        there, lost = places[bare(path, ours)], float(record["modules"][path]["discarded_energy"])
        if plan.kind == PARAMETERS:
            vectors = [_flat(own) for own in _filled([source.tensors(path) for source in plan.sources])]
            found.append(_of_vectors(plan, path, [*vectors, _flat(merged.tensors(there))], lost))
        else:
            updates = [_double(update) for update in (*plan.updates(path), merged.update(there))]
            found.append(_of_updates(plan, path, updates, lost, seed))
    return found


def effective_rank(update: Update) -> float:
    """exp(−Σ pᵢ ln pᵢ), pᵢ = σᵢ / Σ σ (Roy and Vetterli 2007): 1 for one direction, R for R equal ones, 0 for none.

    The σ of B·A are those of R_B R_Aᵀ, which is R×R, with B = Q_B R_B and Aᵀ = Q_A R_A.
    """
    if update.rank == 0:
        return 0.0
    right = torch.linalg.qr(update.down.T, mode="r").R
    left = torch.linalg.qr(update.up, mode="r").R
    values = torch.linalg.svdvals(left @ right.T)
    total = float(values.sum())
    if total == 0:
        return 0.0
    shares = values[values > 0] / total
    return float(torch.exp(-(shares * shares.log()).sum()))


def conflicts(values: Sequence[Tensor], weights: Sequence[float]) -> float:
    """Mean over pairs of inputs: of the elements that both change, the share in which their weighted signs differ."""
    signs = [torch.sign(w * v) for w, v in zip(weights, values, strict=True)]
    found = []
    for one, other in itertools.combinations(signs, 2):
        products = one * other
        found.append(float((products < 0).sum()) / max(int((products != 0).sum()), 1))
    return sum(found) / len(found) if found else 0.0


def elements(updates: Sequence[Update], seed: int) -> list[Tensor]:
    """The same elements of every ΔW: all where there are few, else `SAMPLED` at places drawn with the seed.

    ΔW_ij = s Σ_r B_ir A_rj, R products each.
    """
    d_out, d_in = updates[0].shape
    if d_out * d_in <= SAMPLED:
        return [update.delta().flatten() for update in updates]
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randint(d_out, (SAMPLED,), generator=draw)
    columns = torch.randint(d_in, (SAMPLED,), generator=draw)
    return [(u.up[rows] * u.down.T[columns]).sum(1) * u.scale for u in updates]


def _filled(inputs: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Parameters of equal shapes: what is narrower gets zeros at the end of its bottleneck."""
    shapes = {
        key: torch.Size(map(max, zip(*(one[key].shape for one in inputs), strict=True))) for key in inputs[0]
    }
    found = [{key: torch.zeros(shape) for key, shape in shapes.items()} for _ in inputs]
    for filled, one in zip(found, inputs, strict=True):
        for key, tensor in one.items():
            filled[key][tuple(map(slice, tensor.shape))] = tensor
    return found


def _of_updates(plan: Plan, path: str, updates: list[Update], lost: float, seed: int) -> ModuleQuality:
    weights = plan.method.prepared(plan.module_weights[path])
    values = elements(updates[:-1], seed)
    ranks = [effective_rank(update) for update in updates]
    return _module(path, gram(updates), conflicts(values, weights), ranks, lost)


def _of_vectors(plan: Plan, path: str, vectors: list[Tensor], lost: float) -> ModuleQuality:
    weights = plan.method.prepared(plan.module_weights[path])
    if len({len(vector) for vector in vectors}) > 1:
        # `cat` widens: the merge has no vector like the inputs'.
        norm = float(vectors[-1].norm())
        inner = torch.stack(vectors[:-1])
        products = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
        products[:-1, :-1], products[-1, -1] = inner @ inner.T, norm**2
    else:
        stacked = torch.stack(vectors)
        products = stacked @ stacked.T
    return _module(path, products, conflicts(vectors[:-1], weights), None, lost)


def _module(
    path: str, products: Tensor, disputed: float, ranks: list[float] | None, lost: float
) -> ModuleQuality:
    norms = [math.sqrt(max(float(value), 0.0)) for value in products.diagonal()]
    table = [
        [float(products[i, j]) / (a * b) if a * b > 0 else 0.0 for j, b in enumerate(norms)]
        for i, a in enumerate(norms)
    ]
    return ModuleQuality(
        path=path,
        layer=layer_of(path)[1],
        cosines=[row[:-1] for row in table[:-1]],
        to_merged=[row[-1] for row in table[:-1]],
        conflicts=disputed,
        norms=norms[:-1],
        norm=norms[-1],
        effective_ranks=ranks,
        discarded=lost,
    )


def _double(update: Update) -> Update:
    return Update(down=update.down.double(), up=update.up.double(), scale=update.scale)


def _flat(parameters: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([parameters[key].double().flatten() for key in sorted(parameters)])
