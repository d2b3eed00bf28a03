"""Sentences token by token: the weights that every adapter got, at every site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from fusion_pipeline.inspection.forwards import batches_of, forward, watched
from fusion_pipeline.training.encoding import Encoded
from fusion_pipeline.training.trainer import PipelineTrainer


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sequence of tokens with the weights of each: `weights` is {site: (tokens, adapters)}, a list of lists.

    `title` says what it is, `said` what the model answers. A site lists the adapters that it has, under `names`.
    """

    title: str
    said: str
    tokens: list[str]
    names: dict[str, list[str]]
    weights: dict[str, list[list[float]]]


def sentences(
    trainer: PipelineTrainer, encoded: Encoded, rows: Sequence[int], told: Mapping[int, tuple[str, str]]
) -> list[Sentence]:
    """Examples token by token, one `Sentence` for each of their sequences; `told` has title and answer of each row."""
    found: list[Sentence] = []
    for row in rows:
        watch = _Watch()
        with watched(trainer, watch.see):
            for batch in batches_of(trainer, [encoded], [[(0, row, True)]]):
                forward(trainer, batch)
        several = encoded.example(row).get("sequences", [encoded.example(row)])
        for number, sequence in enumerate(several):
            title, said = told[row]
            numbered = f"{title} ({number + 1} of {len(several)})" if len(several) > 1 else title
            tokens = token_texts(trainer.model.info.tokenizer, sequence["input_ids"].tolist())
            weights = {site: value[number, : len(tokens)].tolist() for site, value in watch.weights.items()}
            names = {site: list(own) for site, own in watch.names.items()}
            found.append(Sentence(title=numbered, said=said, tokens=tokens, names=names, weights=weights))
    return found


def token_texts(tokenizer: PreTrainedTokenizerBase | None, ids: Sequence[int]) -> list[str]:
    """Tokens as a person reads them: byte-level pieces as their characters, spaces as spaces."""
    if tokenizer is None:
        return [str(number) for number in ids]
    pieces = tokenizer.convert_ids_to_tokens(list(ids))
    return [_readable(tokenizer, piece) for piece in pieces]


def _readable(tokenizer: Any, piece: str) -> str:
    text = piece.replace("▁", " ").replace("Ġ", " ").replace("Ċ", "⏎")
    return text if text.isascii() else tokenizer.convert_tokens_to_string([piece]) or text


class _Watch:
    """Keeps the weights of one example."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.names: dict[str, tuple[str, ...]] = {}

    def see(self, site: str, names: tuple[str, ...], weights: Tensor) -> None:
        """Keeps one site's weights."""
        self.weights[site], self.names[site] = weights.float().cpu(), names
