"""A training loss beside the task's own."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from fusion_pipeline.outputs import AdaptedOutput


class Blend(Protocol):
    """What a training step's loss is made of, where it is more than the model's own."""

    @property
    def asks(self) -> dict[str, Any]:
        """What the model's forward is further asked for, `{"output_hidden_states": True}`."""
        ...

    def loss(self, inputs: dict[str, Any], outputs: AdaptedOutput, own: Tensor, share: Tensor) -> Tensor:
        """The step's loss from the model's `own`, which is scaled already.

        `share` scales a sum over examples in the same way: 1 / the examples of the whole step.
        """
        ...
