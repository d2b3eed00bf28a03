"""A site: one place in one layer where a delta is read from and added to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fusion_pipeline.sites.table import SiteRow
from fusion_pipeline.sites.taps import Tap


@dataclass(frozen=True, kw_only=True)
class SiteInput:
    """What a fusion sees at a site: the adapter input `x`, the sub-layer output `sublayer`, the batch's `mask`.

    `sublayer` is h where adapters read after the residual sum (Pfeiffer) and the fusion asked for it, and
    x itself elsewhere. `mask` is 1 for tokens that count and 0 for padding and fillers; None: all count.
    Shapes: x and sublayer (batch, tokens, hidden), mask (batch, tokens) or (batch, 1).
    """

    x: Tensor
    sublayer: Tensor
    mask: Tensor | None = None


Mix = Callable[[SiteInput], Tensor]


class Site:
    """Attaches a mix (site input → delta) to one layer, and takes it off again.

    `wants` names the extra tensors ("sublayer") to capture for the mix.
    """

    def __init__(self, row: SiteRow, index: int, layer: nn.Module) -> None:
        self.row, self.index, self.layer = row, index, layer
        self._handles: list[RemovableHandle] = []
        self._seen: dict[str, Tensor] = {}

    @property
    def key(self) -> str:
        """The site's name in checkpoints and tables: `ffn.3`."""
        return f"{self.row.name}.{self.index}"

    def attach(self, mix: Mix, wants: frozenset[str] = frozenset()) -> None:
        """Puts `mix` in place; whatever was attached before is taken off."""
        self.detach()
        if "sublayer" in wants and self.row.sublayer is not None:
            self._capture("sublayer", self.row.sublayer)
        if self.row.rerun is not None:
            self._attach_rerun(self.row.rerun, mix)
        elif self.row.at is not None:
            self._handles += self.row.at.add(self.layer, lambda x: mix(self._input(x)))
        else:
            self._attach_apart(mix)

    def detach(self) -> None:
        """Takes every hook off; the layer is the backbone's own again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._seen.clear()

    def _capture(self, name: str, tap: Tap) -> None:
        def store(value: Tensor) -> None:
            self._seen[name] = value

        self._handles += tap.capture(self.layer, store)

    def _input(self, x: Tensor) -> SiteInput:
        # Popped, so that no activation outlives its layer; a checkpointed layer captures anew when it reruns.
        return SiteInput(x=x, sublayer=self._seen.pop("sublayer", x))

    def _attach_rerun(self, tap: Tap, mix: Mix) -> None:
        """Post-LN: with s = h + a and x = LN(s), the layer's output becomes LN(s + Δ(x))."""
        norm = tap.module(self.layer)

        def rerun(_module: nn.Module, args: tuple[Any, ...], x: Tensor) -> Tensor:
            # forward, not __call__: the hook itself must not run again.
            return norm.forward(args[0] + mix(self._input(x)))

        self._handles.append(norm.register_forward_hook(rerun))

    def _attach_apart(self, mix: Mix) -> None:
        assert self.row.read is not None
        assert self.row.write is not None
        self._capture("read", self.row.read)
        self._handles += self.row.write.add(self.layer, lambda _h: mix(self._input(self._seen.pop("read"))))
