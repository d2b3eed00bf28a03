"""The lowest layers of a backbone, left out of forwards that bring along what these layers would compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from fusion_pipeline.errors import PipelineError

STATES = "lower_states"
"""The keyword of a model's forward that brings the hidden states (B, T, D) entering layer k."""


class LowerLayers:
    """The `count` = k lowest layers of a model's backbone.

    While attached, `model(…, lower_states=S)` bypasses layers 0 … k-1 and runs layer k on S (B, T, D);
    a forward without it is the plain one. What a forward was given stays until the next one, since layers
    that are checkpointed run again in backward.
    """

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module], count: int) -> None:
        self.model, self.count = model, count
        self._lower, self._first = list(layers[:count]), layers[count]
        self._states: Tensor | None = None
        self._recording = False
        # What a layer returns beside its hidden states: None for a bare tensor, else how many more of a tuple.
        self._beside: int | None = None
        self._attached = ExitStack()

    def attach(self) -> None:
        """Puts everything in place."""
        hooks = [
            self.model.register_forward_pre_hook(self._take, with_kwargs=True),
            # First of all hooks: a site that reads the layer's input must see the states.
            self._first.register_forward_pre_hook(self._enter, with_kwargs=True, prepend=True),
        ]
        for hook in hooks:
            self._attached.callback(hook.remove)
        for layer in self._lower:
            self._wrap(layer)

    def detach(self) -> None:
        """Takes everything off; the layers are the backbone's own again."""
        self._attached.close()
        self._states = None

    def record(self, **inputs: Any) -> Tensor:
        """What enters layer k (B, T, D) for these inputs; the model's forward ends there."""
        self._recording = True
        try:
            self.model(**inputs)
        except _Reached as reached:
            return reached.states
        finally:
            self._recording = False
        raise PipelineError(
            f"the backbone never ran its layer {self.count}", where="trainer.reuse_lower_layers"
        )

    def _take(self, _model: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self._states = kwargs.get(STATES)
        return args, {name: value for name, value in kwargs.items() if name != STATES}

    def _enter(self, _layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        if self._recording:
            raise _Reached(_hidden(args, kwargs))
        if self._states is None:
            return None
        if args:
            return (self._states, *args[1:]), kwargs
        return args, {**kwargs, next(iter(kwargs)): self._states}

    def _wrap(self, layer: nn.Module) -> None:
        # A hook cannot leave a forward out, so the layer gets one of its own.
        self._attached.callback(_restore, layer, vars(layer).get("forward"))
        layer.forward = self._or_bypass(layer.forward)

    def _or_bypass(self, own: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._states is None:
                output = own(*args, **kwargs)
                self._beside = len(output) - 1 if isinstance(output, tuple) else None
                return output
            states = _hidden(args, kwargs)
            return states if self._beside is None else (states, *[None] * self._beside)

        return forward


class _Reached(Exception):  # noqa: N818 - no error: it ends a forward where the rest of it is not wanted
    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states


def _hidden(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    # A layer's first argument, by position or, in some releases of transformers, by name.
    return args[0] if args else next(iter(kwargs.values()))


def _restore(layer: nn.Module, own: Callable[..., Any] | None) -> None:
    if own is None:
        del layer.forward
    else:
        layer.forward = own
