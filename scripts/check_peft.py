"""The same numbers from the same files: `peft` itself against this pipeline, both ways. For development only.

    pip install peft
    python scripts/check_peft.py

Each case makes an adapter in `peft` on a small random backbone, saves it, imports it here and compares the last hidden
states; then it exports the adapter and lets `peft` read it again. Prints the largest differences, in float64.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from torch import Tensor

from fusion_pipeline import AdaptedModel
from fusion_pipeline.backbone import BackboneSpec
from fusion_pipeline.interop.peft import exchange

TASK = "FEATURE_EXTRACTION"
BERT = ["query", "value", "output.dense"]
CASES: list[tuple[str, Any]] = [
    ("bert", LoraConfig(task_type=TASK, r=4, lora_alpha=7, target_modules=BERT)),
    ("bert", LoraConfig(task_type=TASK, r=4, use_rslora=True, target_modules=["query"])),
    (
        "bert",
        LoraConfig(
            task_type=TASK,
            r=4,
            target_modules=["query", "value"],
            rank_pattern={"value": 2, r"1\.attention\.self\.query": 3},
            alpha_pattern={r"layer\.0\.attention\.self\.value": 5},
        ),
    ),
    ("roberta", LoraConfig(task_type=TASK, r=4, target_modules=["key"], layers_to_transform=[1])),
    ("distilbert", LoraConfig(task_type=TASK, r=4, target_modules=["q_lin", "lin2"])),
    ("modernbert", LoraConfig(task_type=TASK, r=4, target_modules=["Wqkv", "Wi"])),
    ("deberta-v2", LoraConfig(task_type=TASK, r=4, target_modules=["query_proj", "value_proj"])),
    ("gpt2", LoraConfig(task_type=TASK, r=4, target_modules=["c_attn"], fan_in_fan_out=True)),
    ("llama", LoraConfig(task_type=TASK, r=4, target_modules=["q_proj", "gate_proj"])),
    ("bert", PromptTuningConfig(task_type=TASK, num_virtual_tokens=5)),
    ("gpt2", PromptTuningConfig(task_type=TASK, num_virtual_tokens=5)),
]


def bare(family: str) -> AdaptedModel:
    """A small random backbone, the same each time."""
    return AdaptedModel.from_backbone(BackboneSpec(kind="tiny", random=family, dtype="float64"))


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Every weight that trains gets a random value: B starts at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(0.3 * torch.randn_like(parameter))
    return model.eval()


def theirs(model: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The last hidden states in `peft`, without the virtual tokens."""
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    return states[:, -batch["input_ids"].shape[1] :]


def ours(family: str, folder: Path, batch: dict[str, Tensor]) -> tuple[AdaptedModel, Tensor]:
    """The folder, read here: the model and its last hidden states."""
    model = bare(family)
    exchange.read(model, folder, head=None, adapters=[])
    model.double().eval()
    with torch.no_grad():
        return model, model(**batch, output_hidden_states=True).last_hidden_state


def check(family: str, config: Any, folder: Path) -> tuple[float, float]:
    """Largest differences of what was imported, and of what was exported and read by `peft` again."""
    base = bare(family)
    texts = base.info.tokenizer(["a lamp", "somewhat longer than that"], padding=True, return_tensors="pt")
    batch = {key: texts[key] for key in ("input_ids", "attention_mask")}
    peft_model = shaken(get_peft_model(base.backbone, config)).double()
    wanted = theirs(peft_model, batch)
    peft_model.save_pretrained(folder / "there")
    model, found = ours(family, folder / "there", batch)
    exchange.write(model, folder / "here")
    again = theirs(PeftModel.from_pretrained(bare(family).backbone, folder / "here").double().eval(), batch)
    real = batch["attention_mask"].bool()
    return float((found - wanted)[real].abs().max()), float((again - wanted)[real].abs().max())


def main() -> None:
    """Runs every case."""
    worst = 0.0
    for family, config in CASES:
        with tempfile.TemporaryDirectory() as folder:
            gaps = check(family, config, Path(folder))
        worst = max(worst, *gaps)
        print(f"{family:12} {config.peft_type.value:14} import {gaps[0]:.1e}  export {gaps[1]:.1e}")
    if worst > 1e-5:
        raise SystemExit(f"the largest difference is {worst:.1e}")


if __name__ == "__main__":
    main()
