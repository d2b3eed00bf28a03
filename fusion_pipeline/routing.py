"""Which adapters and fusion run at which site: put in place, observed, taken away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fusion_pipeline.components import PerSite
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion.spec import Fusion
from fusion_pipeline.mixing import Batch, Mixer, Observer, Probe
from fusion_pipeline.row_mixing import RowMixer
from fusion_pipeline.sites import Site, SiteTable
from fusion_pipeline.sites import input as prompted

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Routing:
    """The sites of one backbone and the mixers on them."""

    def __init__(self, table: SiteTable, backbone: PreTrainedModel) -> None:
        layers = table.layer_list(backbone)
        sites = [Site(row, i, layer) for row in table.sites.values() for i, layer in enumerate(layers)]
        self.sites = {site.key: site for site in sites}
        self._shared = table.shared
        self._mixers: dict[str, Mixer] = {}
        self._wants: frozenset[str] = frozenset()
        self.dropped = 0
        self.batch = Batch()
        self.input = prompted.InputSite(backbone)
        self._hidden = int(backbone.config.hidden_size)

    def install(self, parts: Mapping[str, PerSite], fusion: PerSite | None, *, by_rows: bool = False) -> None:
        """Attaches these adapters, under the fusion where there is one; what was attached is taken off.

        `by_rows`: each adapter gets the examples that `batch.rows` says are its own.
        """
        self.input.prompt = next((p for part in parts.values() if (p := part.at(prompted.KEY))), None)
        self.forget()
        for key in self._mixers:
            self.sites[key].detach()
        self._mixers, self.dropped = {}, 0
        self._wants = fusion.spec.wants if fusion is not None else frozenset()  # type: ignore[attr-defined]
        mixer = RowMixer if by_rows else Mixer
        for key, site in self.sites.items():
            here = {name: part.at(key) for name, part in parts.items()}
            present = {name: module for name, module in here.items() if module is not None}
            if not present:
                continue
            fuse = None if fusion is None else fusion.at(key)
            fuse = fuse if isinstance(fuse, Fusion) else None
            self._mixers[key] = mixer(key, present, fuse, batch=self.batch, shared=self._shared)
            site.attach(self._mixers[key], self._wants)

    def drop_layers(self, count: int) -> None:
        """Takes what is installed off the lowest `count` layers and puts it on all others."""
        before, self.dropped = self.dropped, count
        for key, mixer in self._mixers.items():
            site = self.sites[key]
            if before <= site.index < count:
                site.detach()
            elif count <= site.index < before:
                site.attach(mixer, self._wants)

    def penalty(self) -> Tensor | None:
        """The penalties of the active fusion and adapters, summed over sites."""
        running = [mixer for key, mixer in self._mixers.items() if self.sites[key].index >= self.dropped]
        terms = [term for mixer in running for term in mixer.penalties()]
        return torch.stack(terms).sum() if terms else None

    def begin(self, mask_BT: Tensor | None, example_ids: Tensor | None, task: str | None = None) -> None:
        """Starts a forward over a task's batch with this attention mask; examples below 0 are fillers."""
        self.batch.task = task
        self.batch.mask = _counted(mask_BT, example_ids)
        self.batch.virtual = self.input.virtual
        for mixer in self._mixers.values():
            mixer.begin()

    def forget(self) -> None:
        """Drops everything that was computed from weights and kept."""
        for mixer in self._mixers.values():
            mixer.forget()

    def observe(self, observer: Observer | None, probe: Probe | None = None) -> None:
        """Shows every forward's fusion weights to `observer`, inputs and banks to `probe`; None stops it."""
        for mixer in self._mixers.values():
            mixer.observer, mixer.probe = observer, probe

    @contextmanager
    def collecting(self, wanted: bool) -> Iterator[dict[str, Tensor] | None]:
        """Collects the fusion weights of a forward inside the block; None where nobody wants them."""
        if not wanted:
            yield None
            return
        found: dict[str, Tensor] = {}
        self.observe(lambda key, _names, weights: found.__setitem__(key, weights))
        try:
            yield found
        finally:
            self.observe(None)

    def free_layers(self) -> int:
        """How many of the lowest layers run without any mixer; 0 where nothing is installed."""
        if self.input.prompt is not None:
            return 0
        return min((self.sites[key].index for key in self._mixers), default=0)

    def widths(self, rows: Sequence[str], skipped: Sequence[int] = ()) -> dict[str, tuple[int, int]]:
        """(D_in, D_out) of every site with one of these names, except in skipped layers."""
        found = {
            key: site.widths(self._hidden)
            for key, site in self.sites.items()
            if site.row.name in rows and site.index not in skipped
        }
        return found | ({prompted.KEY: self.input.widths()} if prompted.ROW in rows else {})


def _counted(mask_BT: Tensor | None, example_ids: Tensor | None) -> Tensor | None:
    if example_ids is None:
        return mask_BT
    real = (example_ids >= 0).unsqueeze(-1)
    return real if mask_BT is None else mask_BT.bool() & real


def check_active(parts: Mapping[str, PerSite], names: Sequence[str], fusion: str | None) -> None:
    """Refuses a choice of adapters that no site can run; one prompt stacks with anything."""
    prompts = [name for name in names if is_prompt(parts[name])]
    if len(prompts) > 1:
        raise PipelineError(f"one prompt at a time: {', '.join(prompts)}", where="adapters")
    others = len(names) - len(prompts)
    if others > 1 and fusion is None:
        raise PipelineError(f"{others} adapters need a fusion", hint="set_active([...], fusion=NAME)")
    if fusion is not None and not others:
        raise PipelineError(f"the fusion '{fusion}' needs at least one adapter", where="adapters")
    if len(set(names)) < len(names):
        raise PipelineError(f"an adapter is named twice: {', '.join(names)}", where="adapters")


def check_layers(skipped: Sequence[int], layers: int) -> None:
    """Refuses layers that the backbone has not."""
    wrong = [index for index in skipped if not 0 <= index < layers]
    if wrong:
        raise PipelineError(
            f"layers {wrong} do not exist", where="adapter.skip_layers", hint=f"0 to {layers - 1}"
        )
    if len(set(skipped)) == layers:
        raise PipelineError("every layer is skipped: no adapter is left", where="adapter.skip_layers")


def check_dropped(count: int, layers: int, where: str | None = None) -> None:
    """Refuses to drop more layers than the backbone has."""
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= layers:
        raise PipelineError(f"{count!r} layers cannot be dropped", where=where, hint=f"0 to {layers}")


def is_prompt(part: PerSite) -> bool:
    """Whether it changes the input, and adds no delta anywhere."""
    return prompted.ROW in part.rows


def check_shared_sites(parts: dict[str, PerSite]) -> None:
    """Refuses to fuse adapters that sit at different sites, and prompts."""
    prompts = [name for name, part in parts.items() if is_prompt(part)]
    if prompts:
        raise PipelineError(
            f"a prompt changes the input and has no delta to fuse: {', '.join(prompts)}",
            where="adapters",
            hint="it stacks with a fusion of others: set_active([PROMPT, ...], fusion=NAME)",
        )
    kinds = {name: ", ".join(sorted(part.rows)) for name, part in parts.items()}
    if len(set(kinds.values())) > 1:
        listed = "; ".join(f"{name} at {rows}" for name, rows in kinds.items())
        raise PipelineError(
            f"these adapters do not share their sites: {listed}",
            where="adapters",
            hint="fuse adapters of one placement, or train the others again with it",
        )
