"""The output of layers below every adapter, computed once for each example of a run.

With the backbone frozen and its dropout off, the hidden states S (T, D) that enter the lowest layer with an
adapter are a function of the example's tokens alone, whatever the epoch, the padding or the adapters' weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.model import AdaptedModel
from fusion_pipeline.sites.lower import STATES, LowerLayers
from fusion_pipeline.training.state_file import StateFile

KEY = "trainer.reuse_lower_layers"
# Of a batch, what says nothing of the tokens.
_BESIDE = {"labels", "task", "task_ids", "example_ids", "choices"}

Place = Callable[[dict[str, Any]], dict[str, Any]]
"""Moves a batch to the device."""


class Kept(Protocol):
    """What is computed once for each example of a run."""

    def bring(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch (on the CPU) with it; a batch that has it already, unchanged."""
        ...


class LowerStates:
    """Brings batches the states that enter the first layer with an adapter; each example's are computed once.

    Examples are told apart by their tokens: the splits and tasks of a run cannot be mistaken for each other.
    """

    def __init__(self, layers: LowerLayers, file: StateFile, place: Place) -> None:
        self.layers, self.file, self.place = layers, file, place

    def bring(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch (on the CPU) with `lower_states` (B, T, D), 0 where there is padding."""
        if STATES in batch:
            return batch
        inputs = token_inputs(batch)
        mask_BT = inputs["attention_mask"].bool()
        # The dtype too: full_eval options of transformers convert the model after training.
        keys = row_keys(inputs, str(next(self.layers.model.parameters()).dtype))
        new = {key: row for row, key in enumerate(keys) if key not in self.file}
        if new:
            self._compute(inputs, new)
        return {**batch, STATES: self.file.read(keys, mask_BT)}

    def _compute(self, inputs: dict[str, Tensor], new: dict[bytes, int]) -> None:
        """Runs the lower layers for some rows of a batch, given by key."""
        part = {name: value[list(new.values())] for name, value in inputs.items()}
        with torch.no_grad():
            states_BTD = self.layers.record(**self.place(part)).cpu()
        for key, states_TD, real_T in zip(new, states_BTD, part["attention_mask"].bool(), strict=True):
            self.file.put(key, states_TD[real_T])


def token_inputs(batch: dict[str, Any]) -> dict[str, Tensor]:
    """Of a batch, what the backbone reads."""
    return {name: value for name, value in batch.items() if name not in _BESIDE}


def row_keys(inputs: dict[str, Tensor], kind: str) -> list[bytes]:
    """What tells each row (one sequence) from all others: its real tokens and `kind`, whatever the padding."""
    columns = [(name, inputs[name].numpy()) for name in sorted(inputs)]
    keys = []
    for row, real in enumerate(inputs["attention_mask"].bool().numpy()):
        digest = hashlib.blake2b(kind.encode(), digest_size=16)
        for name, table in columns:
            digest.update(name.encode() + table[row][real].tobytes())
        keys.append(digest.digest())
    return keys


@contextmanager
def lower_states(model: AdaptedModel, folder: Path, place: Place) -> Iterator[LowerStates]:
    """Lower layers reused inside the block; afterwards the model is as it was and the file is gone."""
    layers = lower_layers(model)
    file = StateFile(folder)
    layers.attach()
    try:
        yield LowerStates(layers, file, place)
    finally:
        layers.detach()
        file.close()


def lower_layers(model: AdaptedModel) -> LowerLayers:
    """The layers below every active adapter; refuses a model whose lower layers are not fixed."""
    layers = list(model.table.layer_list(model.backbone))
    if any(p.requires_grad for p in model.backbone.parameters()):
        raise PipelineError(
            "all of the backbone trains: no layer stays as it is", where=KEY, hint=f"{KEY}=false"
        )
    if model.backbone_dropout:
        raise PipelineError(
            "the backbone's dropout makes its lower layers another function in every step",
            where=KEY,
            hint="backbone.dropout=false",
        )
    if len(layers) != model.config.num_hidden_layers:
        raise PipelineError(
            f"a {model.config.model_type} backbone runs one layer many times, so none is below all adapters",
            where=KEY,
            hint=f"{KEY}=false",
        )
    if model.backbone.main_input_name != "input_ids":
        raise PipelineError("only texts have lower layers to reuse", where=KEY, hint=f"{KEY}=false")
    free = model.free_layers()
    if free == 0:
        raise PipelineError(
            "there is an adapter in the lowest layer", where=KEY, hint="adapter.skip_layers=[0,1]"
        )
    return LowerLayers(model, layers, free)
