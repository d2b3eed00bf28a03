"""Merged adapters in `peft` itself: what it computes with them against the weighted sum of its own updates. For
development only.

    pip install peft
    python scripts/check_merge_peft.py

Adapters of different ranks, alphas, targets and rsLoRA are made and saved by `peft` on a small random Llama,
merged here, and loaded by `peft` again. Prints the largest difference of the logits from those of a model whose
weights had the weighted sum of the updates added (Llama's norms round to float32 on the way), that of the updates
themselves, and how far `peft`'s own `linear` is from the weighted sum.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from fusion_pipeline import registry
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.output import Writing, write_merge
from fusion_pipeline.merging.plan import Plan

TASK = "CAUSAL_LM"
CONFIGS = [
    LoraConfig(task_type=TASK, r=4, lora_alpha=12, target_modules=["q_proj", "v_proj"]),
    LoraConfig(task_type=TASK, r=6, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "down_proj"]),
    LoraConfig(
        task_type=TASK,
        r=3,
        target_modules=["q_proj", "k_proj"],
        rank_pattern={"k_proj": 5},
        alpha_pattern={r"layers\.1\.self_attn\.q_proj": 20},
    ),
]
WEIGHTS = [0.7, -0.4, 0.9]
IDS = torch.arange(24).reshape(2, 12) % 60


def base() -> LlamaForCausalLM:
    """A small random Llama in float64, the same each time."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    config = LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)
    return LlamaForCausalLM(config).double().eval()


def made(config: Any, folder: Path, seed: int) -> dict[str, Tensor]:
    """Saves a random adapter; returns `peft`'s own updates by path."""
    model = get_peft_model(base(), config)
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return updates_of(model)


def updates_of(model: PeftModel) -> dict[str, Tensor]:
    """`peft`'s own updates by path."""
    layers = {n: m for n, m in model.base_model.model.named_modules() if hasattr(m, "get_delta_weight")}
    return {name: layer.get_delta_weight("default").detach().double() for name, layer in layers.items()}


def logits(model: torch.nn.Module) -> Tensor:
    """What the model says of the same tokens."""
    with torch.no_grad():
        return model(IDS).logits


def wanted(updates: Sequence[dict[str, Tensor]], weights: Sequence[float]) -> Tensor:
    """The logits with Σ wᵢ ΔWᵢ added to the weights."""
    model = base()
    for weight, found in zip(weights, updates, strict=True):
        for path, delta in found.items():
            model.get_submodule(path).weight.data += weight * delta
    return logits(model)


def off_by(found: dict[str, Tensor], updates: Sequence[dict[str, Tensor]], weights: Sequence[float]) -> float:
    """The largest difference from Σ wᵢ ΔWᵢ, relative to the largest number in that."""
    gaps = []
    for path, delta in found.items():
        right = sum(w * one[path] for w, one in zip(weights, updates, strict=True) if path in one)
        assert isinstance(right, Tensor)
        gaps.append(float((delta - right).abs().max() / right.abs().max()))
    return max(gaps)


def merged(folders: Sequence[Path], output: Path, method: str, **values: Any) -> PeftModel:
    """`peft` with the adapter merged here."""
    sources = [open_source(str(folder), folder) for folder in folders]
    options = values.pop("options", {})
    plan = Plan(sources=sources, method=registry.build("merge", method, **options), **values)
    write_merge(plan, Writing(output=output, form="peft"))
    return PeftModel.from_pretrained(base(), output).double().eval()


def theirs(folders: Sequence[Path]) -> PeftModel:
    """A model with the first two adapters, merged by `peft`'s own `linear`."""
    model = PeftModel.from_pretrained(base(), folders[0], adapter_name="a")
    model.load_adapter(folders[1], adapter_name="b")
    model.add_weighted_adapter(["a", "b"], [0.5, 0.5], "both", combination_type="linear")
    model.set_adapter("both")
    return model.double().eval()


def check_formats(folders: Sequence[Path], root: Path) -> float:
    """Through MLX's format and back: the largest difference of the logits, of each adapter."""
    worst = 0.0
    for number, folder in enumerate(folders):
        middle = root / f"mlx{number}"
        source = open_source(str(folder), folder)
        linear = registry.build("merge", "linear")
        plan = Plan(sources=[source], method=linear, dtype="float32")
        write_merge(plan, Writing(output=middle, form="mlx"))
        back = merged([middle], root / f"back{number}", "linear")
        given = logits(PeftModel.from_pretrained(base(), folder).double().eval())
        worst = max(worst, float((logits(back) - given).abs().max()))
    return worst


def check_theirs(root: Path) -> tuple[float, float]:
    """(factorwise here against `linear` there, their update's relative distance from the weighted sum)."""
    config = LoraConfig(task_type=TASK, r=4, lora_alpha=12, target_modules=["q_proj"])
    folders = [root / "same0", root / "same1"]
    updates = [made(config, folder, seed) for seed, folder in enumerate(folders)]
    found = theirs(folders)
    ours = merged(folders, root / "factorwise", "factorwise")
    gap = float((logits(ours) - logits(found)).abs().max())
    off = []
    for path, delta in updates[0].items():
        right = 0.5 * (delta + updates[1][path])
        wrong = found.base_model.model.get_submodule(path).get_delta_weight("both").detach()
        off.append(float((wrong - right).norm() / right.norm()))
    return gap, sum(off) / len(off)


def main() -> None:
    """Runs every case."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folders = [root / f"in{i}" for i in range(len(CONFIGS))]
        updates = [made(config, folders[i], i) for i, config in enumerate(CONFIGS)]
        total = sum(WEIGHTS)
        cases = {
            "linear": ([w / total for w in WEIGHTS], {"weights": WEIGHTS}),
            "task_arithmetic": (WEIGHTS, {"weights": WEIGHTS}),
            "cat": (WEIGHTS, {"weights": WEIGHTS}),
            "slerp": ([0, 1, 0], {"weights": [0, 1, 0]}),
            "svd": ([0, 0, 1], {"weights": [0, 0, 1], "rank": 5}),
        }
        gaps = []
        for method, (factors, values) in cases.items():
            found = merged(folders, root / method, method, **values)
            update = off_by(updates_of(found), updates, factors)
            gaps += [float((logits(found) - wanted(updates, factors)).abs().max()), update]
            print(f"{method:16} logits {gaps[-2]:.1e}  update {update:.1e}")
        gaps.append(check_formats(folders, root))
        print(f"to MLX and back  {gaps[-1]:.1e}")
        gap, off = check_theirs(root)
        gaps.append(gap)
        print(f"factorwise here, linear in peft: {gap:.1e}; that is {off:.0%} off the weighted sum")
    if max(gaps) > 1e-5:
        raise SystemExit(f"the largest difference is {max(gaps):.1e}")


if __name__ == "__main__":
    main()
