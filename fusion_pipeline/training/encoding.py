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
from fusion_pipeline.tasks.task_type import RowType
from fusion_pipeline.tasks.types import task_type

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from fusion_pipeline.backbone import Backbone
    from fusion_pipeline.tasks.data import TaskData


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One split of one task as flat arrays.

    Shapes: ids and types (Σ tokens,), starts (sequences + 1,), labels (n,). `types` is None where the backbone
    knows no segments. `rows` are the checked rows. Task types may add `per_token` (Σ tokens, …), and labels are
    then (Σ tokens,) or (n, K); `groups` (n + 1,), the first sequence of each example, where one is several.
    """

    task: str
    ids: np.ndarray
    types: np.ndarray | None
    starts: np.ndarray
    labels: np.ndarray
    rows: Sequence[Mapping[str, Any]] = ()
    per_token: np.ndarray | None = None
    groups: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.starts if self.groups is None else self.groups) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, of its longest sequence."""
        lengths = np.diff(self.starts)
        if self.groups is None or not len(lengths):
            return lengths
        return np.maximum.reduceat(lengths, self.groups[:-1])

    @property
    def sequences(self) -> np.ndarray:
        """Sequences of each example."""
        return np.ones(len(self), dtype=np.int64) if self.groups is None else np.diff(self.groups)

    def example(self, index: int) -> dict[str, Any]:
        """One example: `input_ids`, `token_type_ids` where there are any, `labels`; or its `sequences`."""
        if self.groups is not None:
            numbers = range(self.groups[index], self.groups[index + 1])
            return {"sequences": [self._sequence(number) for number in numbers], "labels": self.labels[index]}
        return {**self._sequence(index), "labels": self.label(index)}

    def label(self, index: int) -> Any:
        """One example's label."""
        per_token = self.labels.ndim == 1 and self.per_token is not None
        return self.labels[self.starts[index] : self.starts[index + 1]] if per_token else self.labels[index]

    def _sequence(self, number: int) -> dict[str, Any]:
        part = slice(self.starts[number], self.starts[number + 1])
        types = {} if self.types is None else {"token_type_ids": self.types[part]}
        return {"input_ids": self.ids[part], **types}


def encode_task(data: TaskData, backbone: Backbone, cache: Path | None) -> dict[str, Encoded]:
    """Every split of a task, tokenised or read from `cache`."""
    return {split: _encode(data, split, rows, backbone, cache) for split, rows in data.splits.items()}


def encode_texts(
    texts: Sequence[str], pairs: Sequence[str] | None, backbone: Backbone, task: str = "input"
) -> Encoded:
    """Texts without labels (all 0), for prediction."""
    columns = tokenise(backbone, list(texts), None if pairs is None else list(pairs))
    return Encoded(task=task, labels=np.zeros(len(texts), dtype=np.int64), **columns)


def encode_rows(rows: Sequence[Mapping[str, Any]], kind: RowType, backbone: Backbone) -> Encoded:
    """Checked rows of a type, for prediction."""
    return Encoded(task="input", rows=rows, **kind.encode(rows, backbone))


def _encode(
    data: TaskData, split: str, rows: Sequence[Mapping[str, Any]], backbone: Backbone, cache: Path | None
) -> Encoded:
    path = None if cache is None else cache / f"{_key(data, split, backbone)}.safetensors"
    columns = None if path is None else _read(path, len(rows))
    if columns is None:
        columns = _columns(data, rows, backbone)
        if path is not None:
            _write(path, columns)
    if "labels" not in columns:
        dtype = np.int64 if data.spec.labels is not None else np.float64
        columns["labels"] = np.array([row["label"] for row in rows], dtype=dtype)
    return Encoded(task=data.spec.name, rows=rows, **columns)


def _columns(data: TaskData, rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
    kind = task_type(data.spec.type)
    if isinstance(kind, RowType):
        return kind.encode(rows, backbone)
    return encode_plain(rows, backbone)


def encode_plain(rows: Sequence[Mapping[str, Any]], backbone: Backbone) -> dict[str, Any]:
    """The tokens of texts or pairs of texts."""
    pairs = [row["text_pair"] for row in rows] if rows and "text_pair" in rows[0] else None
    return tokenise(backbone, [row["text"] for row in rows], pairs)


def tokenise(
    backbone: Backbone, texts: list[str], pairs: list[str] | None, *, offsets: bool = False
) -> dict[str, Any]:
    """Flat `ids`, `types` and `starts`; `longest_first` cuts the longer text of a pair.

    With `offsets` also (Σ tokens, 2): where each token stands in the last of its texts, (0, 0) where it does not.
    Raises `PipelineError` where the tokenizer cannot say that.
    """
    # Fast tokenizers work on all cores at once.
    tokenizer = _tokenizer(backbone)
    if offsets and not tokenizer.is_fast:
        raise PipelineError(
            f"the tokenizer of {backbone.name} does not say where its tokens stand in the text",
            where="backbone.path",
            hint="this type of task needs a fast tokenizer (tokenizer.json)",
        )
    found = tokenizer(
        texts,
        pairs,
        truncation="longest_first",
        max_length=backbone.max_length,
        padding=False,
        return_offsets_mapping=offsets,
    )
    lengths = [len(ids) for ids in found["input_ids"]]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = {"offsets": _places(found, 0 if pairs is None else 1)} if offsets else {}
    return {
        **places,
        "ids": _flat(found["input_ids"]),
        "types": _flat(found["token_type_ids"]) if _has_segments(backbone, found) else None,
        "starts": starts,
    }


def _places(found: Any, wanted: int) -> np.ndarray:
    rows = [
        place if side == wanted else (0, 0)
        for i, places in enumerate(found["offset_mapping"])
        for place, side in zip(places, found.sequence_ids(i), strict=True)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


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
    if len(arrays.get("groups", arrays.get("starts", ()))) != rows + 1:
        return None
    return {"types": None, **arrays}


def _write(path: Path, columns: Mapping[str, Any]) -> None:
    import os

    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: array for name, array in columns.items() if array is not None}, aside)
    aside.replace(path)
