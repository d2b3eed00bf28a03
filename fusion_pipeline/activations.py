"""Activation functions by the names that configs, AdapterHub and transformers use."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * (1.702 * x).sigmoid(),
    "swish": F.silu,
    "silu": F.silu,
    "mish": F.mish,
    "elu": F.elu,
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "leakyrelu": F.leaky_relu,
    "relu2": lambda x: F.relu(x).square(),
    "identity": lambda x: x,
}
