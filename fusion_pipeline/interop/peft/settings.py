"""Which of PEFT's settings mean the same here, and which are refused."""

from __future__ import annotations

from typing import Any

from fusion_pipeline.interop.problems import Problems

# Settings that change the function, with the values under which they do not; any other value is refused.
_FIXED: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
    # These start from changed weights of the backbone: olora, pissa, corda, loftq, lora_ga.
    "init_lora_weights": (True, False, "gaussian", "orthogonal", "eva"),
    "num_transformer_submodules": (1,),
}
_COMMON = {
    "peft_type",
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
}
# Settings that are carried over, that weights show by themselves, or that change nothing.
_READ = {
    "LORA": {
        "r",
        "lora_alpha",
        "lora_dropout",
        "use_rslora",
        "rank_pattern",
        "alpha_pattern",
        "target_modules",
        "exclude_modules",
        "layers_to_transform",
        "layers_pattern",
        "fan_in_fan_out",
        "megatron_core",
        "eva_config",
        "qalora_group_size",
        "ensure_weight_tying",
    },
    "PROMPT_TUNING": {
        "num_virtual_tokens",
        "token_dim",
        "num_attention_heads",
        "num_layers",
        "prompt_tuning_init",
        "prompt_tuning_init_text",
        "prompt_tuning_init_state_dict",
        "tokenizer_name_or_path",
        "tokenizer_kwargs",
    },
}


def _numbers(config: dict[str, Any]) -> list[tuple[str, Any]]:
    alphas = config.get("alpha_pattern") or {}
    found = [(key, config[key]) for key in ("lora_alpha", "lora_dropout") if key in config]
    return found + (
        [(f"alpha_pattern.{key}", v) for key, v in alphas.items()] if isinstance(alphas, dict) else []
    )


def check(config: dict[str, Any], where: str) -> str:
    """The sort of adapter, `LORA` or `PROMPT_TUNING`; everything that cannot be carried over is named at once."""
    kind = str(config["peft_type"])
    problems = Problems("this adapter cannot be carried over", where)
    if kind not in _READ:
        problems.add(f"peft_type={kind}: only {' and '.join(_READ)} are supported")
        problems.refuse()
    for key in sorted(config.keys() - _COMMON - _READ[kind]):
        value = config[key]
        # DoRA, biases, whole modules and what is still unknown: harmless only where it is off.
        if value and value not in _FIXED.get(key, ()):
            problems.add(f"{key}={value}: not supported")
    for key, value in _numbers(config):
        if isinstance(value, bool) or not isinstance(value, int | float):
            problems.add(f"{key}={value}: it is no number")
    problems.refuse(hint="save it without these, or merge them into the backbone first")
    return kind
