"""Parameters that learn at another rate than the rest."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


def give_rate(optimizer: torch.optim.Optimizer, chosen: Iterable[nn.Parameter], rate: float) -> None:
    """Moves these parameters into groups of their own, which differ from their former ones by the rate alone."""
    ids = {id(parameter) for parameter in chosen}
    for group in list(optimizer.param_groups):
        ours = [p for p in group["params"] if id(p) in ids]
        if ours:
            group["params"] = [p for p in group["params"] if id(p) not in ids]
            optimizer.add_param_group({**group, "params": ours, "lr": rate})


def own_rates(model: nn.Module) -> dict[float, list[nn.Parameter]]:
    """The parameters that learn at a share or a multiple of the learning rate, by that factor, as their modules say."""
    found: dict[float, list[nn.Parameter]] = {}
    for module in model.modules():
        for name, share in getattr(module, "learning_rates", {}).items():
            found.setdefault(share, []).extend(module.get_submodule(name).parameters())
    return found
