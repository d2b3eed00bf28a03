"""A tap: one tensor flowing through a backbone layer, named by module path and side."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fusion_pipeline.errors import PipelineError

_TAP = re.compile(r"^(?P<path>\.|[A-Za-z_][\w.]*)(:(?P<side>output|input(?P<index>\d)))?$")


@dataclass(frozen=True, kw_only=True)
class Tap:
    """One tensor at a submodule of a layer.

    `path` is relative to the layer ("." is the layer itself); `index` is the positional argument
    when the tap is an input and None when it is the module's output.
    """

    path: str
    index: int | None = None

    @classmethod
    def parse(cls, text: str, where: str) -> Tap:
        """Reads `path`, `path:output` or `path:input0` as a table writes it."""
        found = _TAP.match(text)
        if found is None:
            raise PipelineError(
                f"'{text}' is not a tap", where=where, hint="write 'module.path' or 'module.path:input0'"
            )
        index = found.group("index")
        return cls(path=found.group("path"), index=None if index is None else int(index))

    def module(self, layer: nn.Module) -> nn.Module:
        """The submodule this tap sits on."""
        return layer if self.path == "." else layer.get_submodule(self.path)

    def capture(self, layer: nn.Module, store: Callable[[Tensor], None]) -> RemovableHandle:
        """Calls `store` with the tensor each time it flows by."""
        module = self.module(layer)
        if self.index is None:
            return module.register_forward_hook(lambda _m, _a, output: store(first(output)))
        index = self.index
        return module.register_forward_pre_hook(
            lambda _m, args, kwargs: store(_argument(args, kwargs, index)), with_kwargs=True
        )

    def add(self, layer: nn.Module, delta: Callable[[Tensor], Tensor]) -> RemovableHandle:
        """Adds `delta(tensor)` to the module's output."""
        if self.index is not None:
            raise PipelineError(f"cannot write to the input tap '{self.path}:input{self.index}'")
        # First of all hooks: transformers' own, which record hidden states, must see the sum.
        return self.module(layer).register_forward_hook(
            lambda _m, _a, output: _replace_first(output, first(output) + delta(first(output))), prepend=True
        )


def first(output: Any) -> Tensor:
    """The hidden states of a module's output, which is a tensor or a tuple that starts with it."""
    return output[0] if isinstance(output, (tuple, list)) else output


def _replace_first(output: Any, value: Tensor) -> Any:
    return (value, *output[1:]) if isinstance(output, (tuple, list)) else value


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int) -> Tensor:
    # transformers passes the same argument by position or by name from one release to the next.
    return args[index] if index < len(args) else list(kwargs.values())[index - len(args)]
