"""An untrained toy backbone with a byte-level tokenizer: for tests, and only by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_VOCABULARY = 256 + len(_SPECIAL)

_SMALL: dict[str, Any] = {
    "vocab_size": _VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 160,
    "pad_token_id": 0,
}
# What a family needs besides, or in place of, the above.
_OWN: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2},
    "electra": {"embedding_size": 16},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "llama": {"num_key_value_heads": 2},
    "vit": {"image_size": 12, "patch_size": 6},
    "deit": {"image_size": 12, "patch_size": 6},
    # Its default scale would hide what an adapter does.
    "beit": {"image_size": 12, "patch_size": 6, "layer_scale_init_value": 0.5},
}
_RENAMED: dict[str, dict[str, str]] = {
    "distilbert": {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
    }
}
# Token ids that the family's own defaults would put outside the toy vocabulary.
_TOKENS = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}


def random_model(model_type: str, seed: int = 0) -> PreTrainedModel:
    """A two-layer model of the family, 32 dimensions, the same weights for the same seed."""
    import torch
    from transformers import AutoConfig, AutoModel

    names = _RENAMED.get(model_type, {})
    values = {names.get(key, key): value for key, value in _SMALL.items()}
    config = AutoConfig.for_model(model_type, **{**values, **_TOKENS, **_OWN.get(model_type, {})})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModel.from_config(config)


def random_tokenizer() -> PreTrainedTokenizerBase:
    """One token a byte, `[CLS] a [SEP] b [SEP]`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*_SPECIAL, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
