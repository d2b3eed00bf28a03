"""What is trained: adapters and fusions, each a module per site, kept under its name."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from fusion_pipeline.common import COMMON, Common
from fusion_pipeline.errors import PipelineError, did_you_mean


class PerSite(nn.Module):
    """Modules keyed by site; the state dict's keys are `<site>.<layer>.<parameter>` (`ffn.3.down.weight`).

    Parts that the modules have in common over all sites are owned once, under `common.<part>.<parameter>`.
    """

    def __init__(self, spec: object, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.spec = spec
        common = Common(list(modules.values()))
        if len(common):
            self.add_module(COMMON, common)
        for key, module in modules.items():
            row, layer = key.split(".")
            if row not in self._modules:
                self.add_module(row, nn.Module())
            self.get_submodule(row).add_module(layer, module)

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """(`ffn.3`, module) for every site."""
        for row, layers in self.named_children():
            if row == COMMON:
                continue
            for layer, module in layers.named_children():
                yield f"{row}.{layer}", module

    def at(self, key: str) -> nn.Module | None:
        """The module at a site, None where there is none (a skipped layer)."""
        return dict(self.items()).get(key)

    @property
    def rows(self) -> frozenset[str]:
        """The names of the sites used, without layers."""
        return frozenset(key.split(".")[0] for key, _ in self.items())


class Shelf(nn.Module):
    """Named components of one sort. Any name is allowed, also those that torch reserves (`type`, `a.b`)."""

    def __init__(self, sort: str) -> None:
        super().__init__()
        self.sort = sort

    def put(self, name: str, module: nn.Module) -> None:
        """Adds a component in the model's mode (training or evaluation); a name that is taken is refused."""
        if name in self:
            raise PipelineError(f"there is already {self.sort} '{name}'", hint="give another name")
        self.add_module(_key(name), module.train(self.training))

    def __contains__(self, name: str) -> bool:
        return _key(name) in self._modules

    def __getitem__(self, name: str) -> nn.Module:
        module = self._modules.get(_key(name))
        if module is None:
            raise PipelineError(f"there is no {self.sort} '{name}'", hint=did_you_mean(name, self.names()))
        return module

    def drop(self, name: str) -> None:
        """Takes a component off again."""
        _ = self[name]
        delattr(self, _key(name))

    def names(self) -> list[str]:
        """Every name, in the order of adding."""
        return [key[1:].replace("·", ".") for key in self._modules]


def _key(name: str) -> str:
    # torch refuses dots and the names of its own attributes as module names.
    return "@" + name.replace(".", "·")
