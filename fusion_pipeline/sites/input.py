"""The one site that adds no delta: virtual tokens before the input embeddings (prompt tuning)."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.components import PerSite

ROW = "input"
KEY = f"{ROW}.0"


class InputSite:
    """Puts P virtual tokens V (P, E) before a batch's embeddings, and takes their hidden states off again.

    The mask grows by P ones and the token types by P zeros; positions are the family's own, counted from the
    first virtual token. What a model hands on (hidden states, pooling, fusion weights) has real tokens only.
    """

    def __init__(self, backbone: PreTrainedModel) -> None:
        self.backbone = backbone
        self.prompt: nn.Module | None = None

    @property
    def embedding(self) -> nn.Embedding:
        """The table of word embeddings; refuses backbones that take no embeddings."""
        found = self.backbone.get_input_embeddings()
        takes = inspect.signature(self.backbone.forward).parameters
        if "inputs_embeds" not in takes or not isinstance(found, nn.Embedding):
            raise PipelineError(
                f"a {self.backbone.config.model_type} backbone takes no embeddings, so nothing can be put before them",
                where="adapter",
                hint="another kind of adapter",
            )
        return found

    def widths(self) -> tuple[int, int]:
        """(E, E), the width of the word embeddings."""
        return self.embedding.embedding_dim, self.embedding.embedding_dim

    def prepare(self, part: PerSite, info: Backbone) -> None:
        """Refuses a prompt that this backbone has no room for, and draws its first values."""
        prompt = part.at(KEY)
        assert prompt is not None
        count, positions = len(prompt()), info.positions
        if positions is not None and info.max_length + count > positions:
            raise PipelineError(
                f"{count} virtual tokens before texts of {info.max_length} are more than the {positions} "
                "positions of this backbone",
                where="adapter.length",
                hint=f"backbone.max_length={max(4, positions - count)}",
            )
        if info.pooling == "backbone":
            raise PipelineError(
                "the backbone's own pooler would read the first virtual token",
                where="backbone.pooling",
                hint="backbone.pooling=first or mean",
            )
        prompt.start_from(self.embedding.weight.detach())  # type: ignore[operator]

    @property
    def virtual(self) -> int:
        """P, or 0 without a prompt."""
        return 0 if self.prompt is None else len(self.prompt())

    def enter(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The backbone's inputs with the virtual tokens before the real ones."""
        if self.prompt is None:
            return inputs
        if "position_ids" in inputs:
            raise PipelineError(
                "a prompt moves every position: position_ids cannot be given", where="adapters"
            )
        given = inputs.get("inputs_embeds")
        embeds_BTE = self.embedding(inputs["input_ids"]) if given is None else given
        virtual_PE = self.prompt().to(embeds_BTE.dtype)
        before_BPE = virtual_PE.expand(len(embeds_BTE), -1, -1)
        kept = {name: value for name, value in inputs.items() if name != "input_ids"}
        kept["inputs_embeds"] = torch.cat([before_BPE, embeds_BTE], dim=1)
        for name, value in (("attention_mask", 1), ("token_type_ids", 0)):
            if kept.get(name) is not None:
                more = kept[name].new_full((len(embeds_BTE), len(virtual_PE)), value)
                kept[name] = torch.cat([more, kept[name]], dim=1)
        return kept

    def leave(self, states: Any) -> Any:
        """The backbone's output without the virtual tokens."""
        count = self.virtual
        if count:
            states.last_hidden_state = states.last_hidden_state[:, count:]
            if states.hidden_states is not None:
                states.hidden_states = tuple(layer[:, count:] for layer in states.hidden_states)
        return states
