"""Merged adapters in `mlx-lm` itself, against transformers with the same weights. For development only.

    pip install "mlx[cpu]" mlx-lm
    python scripts/check_merge_mlx.py

A small random Llama is saved by transformers and loaded by `mlx-lm`, which makes and saves adapters of different
ranks, scales and numbers of layers. They are merged here, loaded by `mlx-lm` again, and its logits compared with
those of transformers whose weights had the weighted sum of the updates added; then the same through PEFT's format.
Differences are those of float32.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import torch
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model
from transformers import LlamaConfig, LlamaForCausalLM

from fusion_pipeline import registry
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.output import Writing, write_merge
from fusion_pipeline.merging.plan import Plan

IDS = np.arange(24).reshape(2, 12) % 60
# num_layers, rank, scale, keys; None: every linear of the last blocks, as mlx-lm does by itself
ADAPTERS: list[tuple[int, int, float, list[str] | None]] = [
    (2, 4, 1.5, ["self_attn.q_proj", "self_attn.v_proj"]),
    (3, 3, 0.7, ["self_attn.q_proj", "mlp.down_proj"]),
    (1, 5, 2.0, None),
]
WEIGHTS = [0.7, -0.4, 0.9]


def base(folder: Path) -> LlamaForCausalLM:
    """A small random Llama, saved for both libraries."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2)).eval()
    model.save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"rope_theta": 10000.0, **content, "rope_scaling": None}))
    return model


def made(base_folder: Path, folder: Path, number: int) -> None:
    """Saves an adapter of random factors, with the config that `mlx_lm.lora` writes."""
    layers, rank, scale, keys = ADAPTERS[number]
    model, _ = load_model(base_folder)
    model.freeze()
    parameters: dict[str, Any] = {"rank": rank, "scale": scale, "dropout": 0.0}
    linear_to_lora_layers(model, layers, parameters | ({"keys": keys} if keys else {}))
    mx.random.seed(number)
    drawn = tree_map_with_path(lambda _, v: 0.2 * mx.random.normal(v.shape), model.trainable_parameters())
    folder.mkdir()
    mx.save_safetensors(str(folder / "adapters.safetensors"), dict(tree_flatten(drawn)))
    said = {"fine_tune_type": "lora", "num_layers": layers, "model": "tiny-llama"}
    said["lora_parameters"] = parameters | ({"keys": keys} if keys else {})
    (folder / "adapter_config.json").write_text(json.dumps(said))


def theirs(base_folder: Path, adapter: Path) -> np.ndarray:
    """The logits of `mlx-lm` with an adapter."""
    model, _ = load_model(base_folder)
    return np.array(load_adapters(model, str(adapter))(mx.array(IDS)))


def updates(folder: Path) -> Mapping[str, torch.Tensor]:
    """ΔW of a file of `mlx-lm`, by its definition."""
    scale = json.loads((folder / "adapter_config.json").read_text())["lora_parameters"]["scale"]
    read = {k: np.array(v) for k, v in mx.load(str(folder / "adapters.safetensors")).items()}
    stems = {key.removesuffix(".lora_a") for key in read if key.endswith(".lora_a")}
    return {s: torch.tensor(scale * (read[f"{s}.lora_a"] @ read[f"{s}.lora_b"]).T) for s in stems}


def wanted(base_folder: Path, folders: Sequence[Path], weights: Sequence[float]) -> np.ndarray:
    """The logits of transformers with Σ wᵢ ΔWᵢ in the weights."""
    model = LlamaForCausalLM.from_pretrained(base_folder).eval()
    with torch.no_grad():
        for folder, weight in zip(folders, weights, strict=True):
            for path, delta in updates(folder).items():
                model.get_submodule(path).weight += weight * delta
        return model(torch.tensor(IDS)).logits.numpy()


def merge(folders: Sequence[Path], output: Path, form: str, method: str, **values: Any) -> Path:
    """Merges here."""
    sources = [open_source(str(folder), folder) for folder in folders]
    plan = Plan(sources=sources, method=registry.build("merge", method), **values)
    write_merge(plan, Writing(output=output, form=form))
    return output


def main() -> None:
    """Runs every case."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        base(root / "base")
        folders = [root / f"in{i}" for i in range(len(ADAPTERS))]
        for number, folder in enumerate(folders):
            made(root / "base", folder, number)
        cases: list[tuple[str, list[Path], list[float]]] = [
            ("linear", folders, [w / sum(WEIGHTS) for w in WEIGHTS]),
            ("task_arithmetic", folders, WEIGHTS),
            *(("linear", [folder], [1.0]) for folder in folders),
        ]
        for number, (method, inputs, factors) in enumerate(cases):
            given = WEIGHTS if len(inputs) > 1 else None
            right = wanted(root / "base", inputs, factors)
            direct = merge(inputs, root / f"mlx{number}", "mlx", method, weights=given)
            peft = merge(inputs, root / f"peft{number}", "peft", method, weights=given)
            again = merge([peft], root / f"again{number}", "mlx", "linear")
            gaps = [float(np.abs(theirs(root / "base", f) - right).max()) for f in (direct, again)]
            worst = max(worst, *gaps)
            print(f"{method:16} of {len(inputs)}: {gaps[0]:.1e}, through PEFT's format {gaps[1]:.1e}")
    if worst > 1e-4:
        raise SystemExit(f"the largest difference is {worst:.1e}")


if __name__ == "__main__":
    main()
