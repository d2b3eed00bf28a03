"""Parts that the modules of all sites have in common: owned once, used at every site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

COMMON = "common"


class Common(nn.Module):
    """Takes the parts that modules name in `common` out of the first module and lends them to all.

    `modules` are of one build. A part named `scales` of a module, or of `outer` inside it, is saved once, as
    `scales.…` or `outer.scales.…`; the modules keep plain references, which own nothing.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        for path, name in _named(modules[0]) if modules else ():
            part = modules[0].get_submodule(path).get_submodule(name)
            for module in modules:
                _lend(module.get_submodule(path), name, part)
            self._own(f"{path}.{name}".lstrip("."), part)

    def __len__(self) -> int:
        return len(self._modules)

    def _own(self, path: str, part: nn.Module) -> None:
        *stem, name = path.split(".")
        owner: nn.Module = self
        for step in stem:
            if step not in owner._modules:
                owner.add_module(step, nn.Module())
            owner = owner.get_submodule(step)
        owner.add_module(name, part)


def _named(module: nn.Module) -> Iterator[tuple[str, str]]:
    """(path, name) of every part that is to be in common."""
    return iter([(path, name) for path, m in module.named_modules() for name in getattr(m, "common", ())])


def _lend(module: nn.Module, name: str, part: nn.Module) -> None:
    del module._modules[name]
    # Past nn.Module's own bookkeeping, which would own it: found, copied and moved with its owner.
    module.__dict__[name] = part
