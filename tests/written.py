"""Tiny causal language models in folders, adapters for them in three formats, and the stage that compares them."""

import json

import torch
from safetensors.torch import save_file
from tokenizers import processors
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from fusion_pipeline.backbone.random import random_tokenizer

QUERY = {"llama": "model.layers.{}.self_attn.q_proj", "gpt2": "transformer.h.{}.attn.c_attn"}
WIDTHS = {"llama": (32, 32), "gpt2": (32, 96)}
SIZES = {"vocab_size": 261, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
MORE = {"intermediate_size": 64, "max_position_embeddings": 512}
MARKS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def causal(folder, family="llama", seed=0, **values):
    """A model with its head and a byte-level tokenizer, saved as anyone would."""
    own = {"num_key_value_heads": 2} if family == "llama" else {}
    config = AutoConfig.for_model(family, **{**SIZES, **MORE, **MARKS, **own, **values})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():  # far enough from even chances for greedy answers to be clear
            parameter.add_(0.3 * torch.randn(parameter.shape))
    model.save_pretrained(folder)
    tokenizer = random_tokenizer()
    opening = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    tokenizer.backend_tokenizer.post_processor = opening
    tokenizer.eos_token = "[SEP]"
    tokenizer.save_pretrained(folder)
    return folder


def matrices(family="llama", rank=3, seed=1, std=0.5):
    """{path: (A, B)} of the queries of both layers."""
    draw, (d_in, d_out) = torch.Generator().manual_seed(seed), WIDTHS[family]
    return {
        QUERY[family].format(layer): (
            std * torch.randn(rank, d_in, generator=draw),
            std * torch.randn(d_out, rank, generator=draw),
        )
        for layer in range(2)
    }


def peft(folder, pairs, alpha=6, **config):
    folder.mkdir(parents=True)
    tensors = {}
    for path, (down, up) in pairs.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = down
        tensors[f"base_model.model.{path}.lora_B.weight"] = up
    save_file(tensors, folder / "adapter_model.safetensors")
    said = {"peft_type": "LORA", "r": 3, "lora_alpha": alpha, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder


def mlx(folder, pairs, scale=2.0):
    folder.mkdir(parents=True)
    tensors = {}
    for path, (down, up) in pairs.items():
        tensors |= {f"{path}.lora_a": down.T.contiguous(), f"{path}.lora_b": up.T.contiguous()}
    save_file(tensors, folder / "adapters.safetensors")
    parameters = {"rank": 3, "scale": scale, "dropout": 0.0}
    said = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return folder


def merged(base, pairs, scale, folder):
    """The base with every delta added to its weights, by hand."""
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        for path, (down, up) in pairs.items():
            weight = model.get_submodule(path).weight
            delta = scale * up @ down
            weight += (
                delta if weight.shape == delta.shape else delta.T
            )  # GPT-2 keeps its linears the other way
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder
