"""A tap: one tensor flowing through a backbone layer, named by module path and side."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fusion_pipeline.errors import PipelineError

_TAP = re.compile(
    r"^(?P<path>\.|[A-Za-z_][\w.]*)(@(?P<after>[A-Za-z_][\w.]*))?(:(?P<side>output|input(?P<index>\d)))?$"
)


@dataclass(frozen=True, kw_only=True)
class Tap:
    """One tensor at a submodule of a layer.

    `path` is relative to the layer ("." is the layer itself); `index` is the positional argument
    when the tap is an input and None when it is the module's output. `after` is for a module that a layer
    runs more than once (ViT's one dropout): it means the call that follows the child `after`.
    """

    path: str
    index: int | None = None
    after: str | None = None

    @classmethod
    def parse(cls, text: str, where: str) -> Tap:
        """Reads `path`, `path:output`, `path:input0` or `path@child` (the call after the child)."""
        found = _TAP.match(text)
        if found is None:
            raise PipelineError(
                f"'{text}' is not a tap", where=where, hint="write 'module.path' or 'module.path:input0'"
            )
        index = found.group("index")
        return cls(
            path=found.group("path"), index=None if index is None else int(index), after=found.group("after")
        )

    def module(self, layer: nn.Module) -> nn.Module:
        """The submodule this tap sits on."""
        return layer if self.path == "." else layer.get_submodule(self.path)

    def capture(self, layer: nn.Module, store: Callable[[Tensor], None]) -> list[RemovableHandle]:
        """Calls `store` with the tensor each time it flows by."""
        module, turn = self.module(layer), _Turn(self.after)
        if self.index is None:

            def after(_m: nn.Module, _a: Any, output: Any) -> None:
                if turn.is_now():
                    store(first(output))

            return [*turn.watch(layer), module.register_forward_hook(after)]
        index = self.index

        def before(_m: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if turn.is_now():
                store(_argument(args, kwargs, index))

        return [*turn.watch(layer), module.register_forward_pre_hook(before, with_kwargs=True)]

    def add(self, layer: nn.Module, delta: Callable[[Tensor], Tensor]) -> list[RemovableHandle]:
        """Adds `delta(tensor)` to the module's output."""
        if self.index is not None:
            raise PipelineError(f"cannot write to the input tap '{self.path}:input{self.index}'")
        turn = _Turn(self.after)

        def after(_m: nn.Module, _a: Any, output: Any) -> Any:
            return _replace_first(output, first(output) + delta(first(output))) if turn.is_now() else output

        # First of all hooks: transformers' own, which record hidden states, must see the sum.
        return [*turn.watch(layer), self.module(layer).register_forward_hook(after, prepend=True)]


class _Turn:
    """Tells apart the calls of one module within a layer, by the child that ran before.

    Nothing is counted, and nothing hangs on the layer itself: a checkpointed layer runs its forward again
    without its own hooks, and may stop half-way.
    """

    def __init__(self, after: str | None) -> None:
        self.after, self.last = after, ""

    def watch(self, layer: nn.Module) -> list[RemovableHandle]:
        """Notes which child with weights ran last."""
        if self.after is None:
            return []
        children = [(n, m) for n, m in layer.named_children() if next(m.parameters(), None) is not None]
        return [module.register_forward_hook(partial(self._note, name)) for name, module in children]

    def _note(self, name: str, _module: nn.Module, _args: Any, _output: Any) -> None:
        self.last = name

    def is_now(self) -> bool:
        """Whether the call that is under way is the wanted one."""
        return self.after is None or self.last == self.after


def first(output: Any) -> Tensor:
    """The hidden states of a module's output, which is a tensor or a tuple that starts with it."""
    return output[0] if isinstance(output, (tuple, list)) else output


def _replace_first(output: Any, value: Tensor) -> Any:
    return (value, *output[1:]) if isinstance(output, (tuple, list)) else value


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], index: int) -> Tensor:
    # transformers passes the same argument by position or by name from one release to the next.
    return args[index] if index < len(args) else list(kwargs.values())[index - len(args)]
