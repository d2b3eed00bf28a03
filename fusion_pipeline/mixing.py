"""What runs at a site: one adapter alone, or a fusion over the site's bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from fusion_pipeline.adapters.bank import LowRankBank
from fusion_pipeline.adapters.module_bank import ModuleBank, alone, bank_of
from fusion_pipeline.fusion.spec import Fusion
from fusion_pipeline.sites.site import SiteInput

Observer = Callable[[str, tuple[str, ...], Tensor], None]
"""Called with a site's key, its adapters' names and the weights (B, T, N) of each forward."""

Probe = Callable[[str, SiteInput, LowRankBank | ModuleBank], None]
"""Called with a site's key, what its adapters read in a forward, and the adapters as a bank."""


@dataclass
class Batch:
    """What the sites may know of the batch under way; it stays until the next forward.

    Layers that are checkpointed run again in backward, and must find what they had. `mask` (B, T) or (B, 1)
    is 1 for tokens that count; None: all do. The first `virtual` tokens are a prompt's, and count. `rows` is
    which examples belong to which adapter, where each has its own. `task` is whose batch it is.
    """

    mask: Tensor | None = None
    virtual: int = 0
    rows: Mapping[str, slice] = field(default_factory=dict)
    task: str | None = None


def penalty_of(module: nn.Module) -> Tensor | None:
    """A fusion's or adapter's term of the training loss; None where it has none."""
    asked = getattr(module, "penalty", None)
    found: Tensor | None = None if asked is None else asked()
    return found


def _tell(module: nn.Module, what: str, *values: object) -> None:
    hears = getattr(module, what, None)
    if hears is not None:
        hears(*values)


class Mixer:
    """The mix of one site: `site input → Δ`.

    It holds the modules of the model and owns none of them. `observer` sees the fusion weights, `probe` what they are
    weights of; where the layer is `shared`, once for each pass, under `ffn.0#1` for the second.
    """

    def __init__(
        self,
        key: str,
        adapters: Mapping[str, nn.Module],
        fusion: Fusion | None,
        *,
        batch: Batch,
        shared: bool = False,
    ) -> None:
        self.key = key
        self.batch = batch
        self.shared = shared
        self.passes = 0
        self.fusion = fusion
        self.bank = bank_of(list(adapters), list(adapters.values()), batch)
        self.observer: Observer | None = None
        self.probe: Probe | None = None

    def __call__(self, site: SiteInput) -> Tensor:
        """The delta in the dtype of the stream it is added to."""
        dtype = site.x.dtype
        delta = self._delta(self._cast(site))
        return delta if delta.dtype == dtype else delta.to(dtype)

    def _delta(self, site: SiteInput) -> Tensor:
        if self.fusion is None:
            return alone(self.bank.modules[0], site.x, self.batch)
        fused = self.fusion(replace(site, mask=self.batch.mask), self.bank)
        if self.observer is not None or self.probe is not None:
            self._show(site, fused.weights)
        return fused.delta

    def _show(self, site: SiteInput, weights: Tensor) -> None:
        key, virtual = self._pass_key(), self.batch.virtual
        if self.observer is not None:
            self.observer(key, self.bank.names, weights[:, virtual:] if virtual else weights)
        if self.probe is not None:
            self.probe(key, site, self.bank)

    def begin(self) -> None:
        """A new forward: the passes of a shared layer are counted from 0; adapters that ask for it learn the task."""
        self.passes = 0
        for module in self.bank.modules:
            _tell(module, "choose", self.batch.task)
            _tell(module, "begin")
        if self.fusion is not None:
            self.fusion.begin()

    def penalties(self) -> list[Tensor]:
        """Terms of the training loss: the fusion's, and those of adapters that train."""
        parts = [*self.bank.modules, *([] if self.fusion is None else [self.fusion])]
        terms = [penalty_of(part) for part in parts]
        return [term for term in terms if term is not None]

    def forget(self) -> None:
        """Drops what adapters, bank and fusion keep of a forward, or from one evaluation to the next."""
        for module in self.bank.modules:
            _tell(module, "begin")
        self.bank.forget()
        if self.fusion is not None:
            self.fusion.forget()

    def _pass_key(self) -> str:
        if not self.shared:
            return self.key
        self.passes += 1
        return f"{self.key}#{self.passes - 1}"

    def _cast(self, site: SiteInput) -> SiteInput:
        """A half-precision backbone with float32 adapters: compute in the adapters' dtype.

        Under autocast the linears choose their own dtype and nothing is cast here.
        """
        # Asked anew each time: the model may be moved to another dtype while it is active.
        dtype = next(self.bank.modules[0].parameters()).dtype
        if site.x.dtype == dtype or torch.is_autocast_enabled(site.x.device.type):
            return site
        return SiteInput(x=site.x.to(dtype), sublayer=site.sublayer.to(dtype))
