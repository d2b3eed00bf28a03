"""Several adapters on one frozen backbone at once: one forward, every example through its own adapter and head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion_pipeline.components import PerSite
from fusion_pipeline.heads import Head
from fusion_pipeline.loss import step_loss
from fusion_pipeline.mixing import penalty_of
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.routing import Routing, check_shared_sites

Batches = Mapping[str, Mapping[str, Any]]
"""A collated batch (B_n, T_n) of one task for each adapter that takes part in a step, by the adapter's name."""

_TOKENS = ("input_ids", "attention_mask", "token_type_ids")


class Together:
    """The adapters of several models that share one backbone, by name.

    Between `with together.running():` the backbone runs them side by side; before and after, none of them.
    Raises `PipelineError` for adapters at different sites and for prompts, which change the input.
    """

    def __init__(self, models: Mapping[str, AdaptedModel]) -> None:
        self.models = dict(models)
        self.parts: dict[str, PerSite] = {}
        for name, model in models.items():
            part = model.adapters[name]
            assert isinstance(part, PerSite)
            self.parts[name] = part
        check_shared_sites(self.parts)
        self.first = next(iter(models.values()))
        self._routing = Routing(self.first.table, self.first.backbone)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Attaches all adapters, with what trains in training mode; takes them off again."""
        for model in self.models.values():
            model.set_active(None)
            model.train()
        self._routing.install(self.parts, None, by_rows=True)
        try:
            yield
        finally:
            self._routing.install({}, None)

    def losses(self, batches: Batches) -> dict[str, Tensor]:
        """Each adapter's mean loss over its own examples: (), from one forward over (ΣB_n, max T_n)."""
        inputs = join(list(batches.values()), self._pad_id)
        rows = _slices(batches)
        self._routing.batch.rows = rows
        self._routing.begin(inputs["attention_mask"], None)
        states = self.first.backbone(**inputs)
        return {name: self._loss(name, batch, states, rows[name]) for name, batch in batches.items()}

    def _loss(self, name: str, batch: Mapping[str, Any], states: Any, rows: slice) -> Tensor:
        model = self.models[name]
        head = model.heads[batch["task"]]
        assert isinstance(head, Head)
        mask_BT = batch["attention_mask"]
        # To the width the batch had alone: a head sees nothing of the others.
        hidden_BTD = states.last_hidden_state[rows, : mask_BT.shape[1]]
        pooled = getattr(states, "pooler_output", None)
        own = SimpleNamespace(
            last_hidden_state=hidden_BTD, pooler_output=None if pooled is None else pooled[rows]
        )
        logits = head.arrange(head(model.features(head, own, mask_BT)), mask_BT, batch.get("choices"))
        found = (penalty_of(module) for _, module in self.parts[name].items())
        terms = [term for term in found if term is not None]
        penalty = torch.stack(terms).sum() if terms else None
        return step_loss(head, logits, batch["labels"], example_ids=batch["example_ids"], penalty=penalty)

    @property
    def _pad_id(self) -> int:
        found = getattr(self.first.info.tokenizer, "pad_token_id", None)
        return 0 if found is None else int(found)


def join(batches: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, Tensor]:
    """The token inputs of several batches (B_n, T_n) as one: (ΣB_n, max T_n), padded on the right."""
    width = max(batch["input_ids"].shape[1] for batch in batches)
    fill = {"input_ids": pad_id}
    return {
        name: torch.cat(
            [F.pad(b[name], (0, width - b[name].shape[1]), value=fill.get(name, 0)) for b in batches]
        )
        for name in _TOKENS
        if name in batches[0]
    }


def _slices(batches: Batches) -> dict[str, slice]:
    found, start = {}, 0
    for name, batch in batches.items():
        found[name] = slice(start, start + len(batch["input_ids"]))
        start = found[name].stop
    return found
