"""The base: a causal language model with its head and its tokenizer, loaded once for all contenders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fusion_pipeline.backbone.spec import BackboneSpec
from fusion_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Base:
    """A frozen causal language model in evaluation mode."""

    spec: BackboneSpec
    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def positions(self) -> int | None:
        """Tokens the model has positions for; None where it says nothing."""
        found = getattr(self.model.config, "max_position_embeddings", None)
        return int(found) if found else None


def load_base(path: str, dtype: str) -> Base:
    """The model and tokenizer in a folder or of a hub id.

    Raises `PipelineError` where there is none, where it has no head that writes, and where it has no tokenizer.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    spec = BackboneSpec(kind="custom", path=path, dtype=dtype)
    try:
        spec.check_source()
    except PipelineError as error:
        hint = error.hint or "a folder written by save_pretrained, or a hub id"
        raise PipelineError(error.what, where=f"base={path}", hint=hint) from error
    config = _config(path)
    _check_writes(config, path)
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, dtype), output_loading_info=True
        )
    except Exception as error:
        # safetensors, torch and transformers each raise their own for a broken file.
        raise _unreadable(path, error) from error
    if loaded["missing_keys"]:
        listed = ", ".join(sorted(loaded["missing_keys"])[:4])
        raise _no_writer(path, f"its weights lack {listed}")
    model.requires_grad_(False).eval()
    return Base(spec=spec, name=path, model=model, tokenizer=_tokenizer(path))


def _config(path: str) -> PretrainedConfig:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise _unreadable(path, error) from error


def _check_writes(config: PretrainedConfig, path: str) -> None:
    """An encoder could be loaded as a causal model, and would write nonsense."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as WRITERS
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES as BARE

    own = WRITERS.get(config.model_type)
    if own is None:
        raise _no_writer(path, f"models of type '{config.model_type}' have no causal form in transformers")
    saved = set(config.architectures or ())
    # A bare decoder whose head is its embedding is whole; one that is not lacks weights, which is seen on loading.
    if saved and not saved & {*_names(own), *_names(BARE.get(config.model_type))}:
        raise _no_writer(path, f"the folder holds {', '.join(sorted(saved))}")


def _names(value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


def _tokenizer(path: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise PipelineError(
            "the base has no tokenizer",
            where=f"base={path}",
            hint="save one into the folder: AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)",
        ) from error


def _no_writer(path: str, why: str) -> PipelineError:
    return PipelineError(
        f"the base is not a causal language model: {why}",
        where=f"base={path}",
        hint="a model with a language-model head: GPT2LMHeadModel, LlamaForCausalLM, ...",
    )


def _unreadable(path: str, error: Exception) -> PipelineError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return PipelineError(
        f"the base cannot be read: {said}",
        where=f"base={path}",
        hint="a folder written by save_pretrained, or a hub id",
    )
