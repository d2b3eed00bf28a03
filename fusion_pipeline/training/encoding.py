"""Texts → token ids, once per task, split and tokenizer: kept on disk and read back by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.tasks.data import TaskData


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One split of one task as flat arrays.

    Shapes: ids and types (Σ tokens,), starts (n + 1,), labels (n,). `types` is None where the backbone
    knows no segments.
    """

    task: str
    ids: np.ndarray
    types: np.ndarray | None
    starts: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example."""
        return np.diff(self.starts)

    def example(self, index: int) -> dict[str, Any]:
        """One example: `input_ids`, `token_type_ids` where there are any, `labels`."""
        part = slice(self.starts[index], self.starts[index + 1])
        types = {} if self.types is None else {"token_type_ids": self.types[part]}
        return {"input_ids": self.ids[part], "labels": self.labels[index], **types}


def encode_task(data: TaskData, backbone: Backbone, cache: Path | None) -> dict[str, Encoded]:
    """Every split of a task, tokenised or read from `cache`."""
    return {split: _encode(data, split, rows, backbone, cache) for split, rows in data.splits.items()}


def encode_texts(
    texts: Sequence[str], pairs: Sequence[str] | None, backbone: Backbone, task: str = "input"
) -> Encoded:
    """Texts without labels (all 0), for prediction."""
    columns = _tokenise(backbone, list(texts), None if pairs is None else list(pairs))
    return Encoded(task=task, labels=np.zeros(len(texts), dtype=np.int64), **columns)


def _encode(
    data: TaskData, split: str, rows: Sequence[Mapping[str, Any]], backbone: Backbone, cache: Path | None
) -> Encoded:
    kind = np.int64 if data.spec.labels is not None else np.float64
    labels = np.array([row["label"] for row in rows], dtype=kind)
    path = None if cache is None else cache / f"{_key(data, split, backbone)}.safetensors"
    columns = None if path is None else _read(path, len(rows))
    if columns is None:
        pairs = [row["text_pair"] for row in rows] if rows and "text_pair" in rows[0] else None
        columns = _tokenise(backbone, [row["text"] for row in rows], pairs)
        if path is not None:
            _write(path, columns)
    return Encoded(task=data.spec.name, labels=labels, **columns)


def _tokenise(backbone: Backbone, texts: list[str], pairs: list[str] | None) -> dict[str, Any]:
    """Fast tokenizers work on all cores at once; `longest_first` cuts the longer text of a pair."""
    tokenizer = _tokenizer(backbone)
    found = tokenizer(texts, pairs, truncation="longest_first", max_length=backbone.max_length, padding=False)
    lengths = [len(ids) for ids in found["input_ids"]]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return {
        "ids": _flat(found["input_ids"]),
        "types": _flat(found["token_type_ids"]) if _has_segments(backbone, found) else None,
        "starts": starts,
    }


def _tokenizer(backbone: Backbone) -> PreTrainedTokenizerBase:
    if backbone.tokenizer is None:
        raise PipelineError(
            f"the backbone {backbone.name} has no tokenizer",
            where="backbone.path",
            hint="save one into the folder: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)",
        )
    return backbone.tokenizer


def _has_segments(backbone: Backbone, found: Mapping[str, Any]) -> bool:
    return "token_type_ids" in found and getattr(backbone.model.config, "type_vocab_size", 0) > 1


def _flat(rows: Sequence[Sequence[int]]) -> np.ndarray:
    return np.fromiter((value for row in rows for value in row), dtype=np.int32)


def _key(data: TaskData, split: str, backbone: Backbone) -> str:
    tokenizer = _tokenizer(backbone)
    names = str(tokenizer.model_input_names)
    parts = [data.fingerprint, split, _said(tokenizer), str(backbone.max_length), names]
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def _said(tokenizer: PreTrainedTokenizerBase) -> str:
    """All that decides what the tokenizer answers."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return repr(sorted(tokenizer.get_vocab().items()))
    # Padding and truncation are those of the last call, whatever it was.
    said = json.loads(backend.to_str()) | {"padding": None, "truncation": None}
    return json.dumps(said, sort_keys=True)


def _read(path: Path, rows: int) -> dict[str, Any] | None:
    from safetensors.numpy import load_file

    if not path.is_file():
        return None
    try:
        arrays = load_file(path)
    except Exception:  # noqa: BLE001 - a cache that cannot be read is made again, whatever the reason
        return None
    if len(arrays.get("starts", ())) != rows + 1:
        return None
    return {"ids": arrays["ids"], "types": arrays.get("types"), "starts": arrays["starts"]}


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    import os

    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: array for name, array in columns.items() if array is not None}, aside)
    aside.replace(path)
