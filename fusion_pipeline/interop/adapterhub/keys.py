"""Names of weights there and here: `bert.encoder.layer.0.output.adapters.a.adapter_up.weight` ↔ `ffn.0.up.weight`.

Where a family keeps them is the `adapterhub` part of its site table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.problems import Problems

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_pipeline.model import AdaptedModel

# Our rows by that library's two locations in a layer.
LOCATIONS = {
    "ffn": "output",
    "ffn_inner": "output",
    "ffn_parallel": "output",
    "attention_inner": "attention",
    "attention_adapterhub": "attention",
}
ADAPTER_PARTS = {
    "down.weight": "adapter_down.0.weight",
    "down.bias": "adapter_down.0.bias",
    "up.weight": "adapter_up.weight",
    "up.bias": "adapter_up.bias",
}


class KeyMap:
    """Where AdapterHub keeps the weights of one model's adapters and fusions."""

    def __init__(self, model: AdaptedModel) -> None:
        found = model.table.adapterhub
        if found is None:
            raise PipelineError(
                f"AdapterHub has no format of its own for {model.config.model_type} backbones", where="format"
            )
        self.facts: dict[str, Any] = found
        self.indices = model.table.layer_indices(model.backbone)
        self.prefix = str(found["prefix"].get(model.config.model_type, ""))

    def site(self, key: str) -> str:
        """`ffn.3` → `encoder.layer.3.output`."""
        row, layer = key.split(".")
        if row not in LOCATIONS:
            raise PipelineError(f"AdapterHub has no place for the site '{row}'", where="format")
        return str(self.facts[LOCATIONS[row]]).format(*self.indices[int(layer)])

    def adapter(self, keys: Iterable[str], name: str) -> dict[str, str]:
        """{our key: their key without the base model's prefix} of an adapter's weights."""
        return {key: self._their(key, f"adapters.{name}", ADAPTER_PARTS) for key in keys}

    def fusion(self, keys: Iterable[str], name: str) -> dict[str, str]:
        """The same for a fusion; its name is the adapters' with commas, or a custom one."""
        return {key: self._their(key, f"adapter_fusion_layer.{name}", {}) for key in keys}

    def _their(self, key: str, middle: str, parts: Mapping[str, str]) -> str:
        row, layer, part = key.split(".", 2)
        return f"{self.site(f'{row}.{layer}')}.{middle}.{parts.get(part, part)}"

    def pick(
        self,
        tensors: Mapping[str, Tensor],
        wanted: Mapping[str, str],
        own: Mapping[str, Tensor],
        where: str,
        *,
        idle: Iterable[str] = (),
    ) -> dict[str, Tensor]:
        """Their tensors under our keys; every missing, unexpected and ill-shaped one is named.

        `idle` are keys that may be there and are never used.
        """
        bare = {_modern(key.removeprefix(f"{self.prefix}.")): value for key, value in tensors.items()}
        bare = {key: value for key, value in bare.items() if key not in set(idle) - set(wanted.values())}
        problems = Problems("the weights do not fit this backbone", where)
        for key in sorted(wanted.values() - bare.keys()):
            problems.add(f"missing: {key}")
        for key in sorted(bare.keys() - set(wanted.values())):
            problems.add(f"unexpected: {key}")
        for ours, theirs in wanted.items():
            if theirs in bare and bare[theirs].shape != own[ours].shape:
                shapes = f"{_shape(bare[theirs])} in the file, {_shape(own[ours])} here"
                problems.add(f"shape of {theirs}: {shapes}")
        problems.refuse(hint="the backbone it was trained on: backbone.path=FOLDER_OR_HUB_ID")
        return {ours: bare[theirs] for ours, theirs in wanted.items()}


def _modern(key: str) -> str:
    """The key that version 1 of `adapter-transformers` wrote differently."""
    for former in ("attention_text_task_adapters", "layer_text_task_adapters"):
        key = key.replace(former, "adapters")
    return key


def _shape(tensor: Tensor) -> str:
    return "×".join(str(size) for size in tensor.shape) or "scalar"
