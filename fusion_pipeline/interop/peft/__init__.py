"""Hugging Face PEFT's format, for LoRA and prompt tuning.

A folder holds `adapter_config.json` and `adapter_model.safetensors`. LoRA's keys are
`base_model.model.<path>.lora_A.weight` (R, D_in) and `.lora_B.weight` (D_out, R), <path> the linear's path in the
wrapped model; a prompt's one key is `prompt_embeddings` (P, E). Files carry no head that means the same here.
"""
