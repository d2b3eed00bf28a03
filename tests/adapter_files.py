"""Small LoRA adapters as PEFT and MLX-LM save them, and the dense updates that they stand for."""

import json
from dataclasses import dataclass, field

import torch
from safetensors.torch import load_file, save_file

from fusion_pipeline import registry
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.output import Writing, write_merge
from fusion_pipeline.merging.plan import Plan

D_IN, D_OUT = 12, 10
QUERY, VALUE = "model.layers.{}.self_attn.q_proj", "model.layers.{}.self_attn.v_proj"
PATHS = [text.format(layer) for layer in range(2) for text in (QUERY, VALUE)]


@dataclass
class Factors:
    """A, B and s of every module, by path."""

    down: dict
    up: dict
    scale: dict = field(default_factory=dict)

    def deltas(self):
        return {p: self.scale[p] * self.up[p].double() @ self.down[p].double() for p in self.down}


def factors(seed=0, *, rank=4, scale=2.0, paths=PATHS, size=1.0, dtype=torch.float32):
    draw = torch.Generator().manual_seed(seed)
    down = {p: torch.randn(rank, D_IN, generator=draw).to(dtype) for p in paths}
    up = {p: size * torch.randn(D_OUT, rank, generator=draw) for p in paths}
    return Factors(down, {p: t.to(dtype) for p, t in up.items()}, dict.fromkeys(paths, scale))


def write_peft(folder, made, *, stem="base_model.model.", extra=None, **config):
    folder.mkdir(parents=True)
    tensors = {f"{stem}{p}.lora_A.weight": t for p, t in made.down.items()}
    tensors |= {f"{stem}{p}.lora_B.weight": t for p, t in made.up.items()}
    save_file(tensors | (extra or {}), folder / "adapter_model.safetensors")
    path = next(iter(made.down))
    rank = made.down[path].shape[0]
    said = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": made.scale[path] * rank}
    said |= {"target_modules": ["q_proj", "v_proj"], "bias": "none", "base_model_name_or_path": "tiny"}
    (folder / "adapter_config.json").write_text(json.dumps(said | config))
    return folder


def write_mlx(folder, made, *, file="adapters.safetensors", extra=None, **config):
    folder.mkdir(parents=True)
    tensors = {f"{p}.lora_a": t.T.contiguous() for p, t in made.down.items()}
    tensors |= {f"{p}.lora_b": t.T.contiguous() for p, t in made.up.items()}
    save_file(tensors | (extra or {}), folder / file)
    path = next(iter(made.down))
    said = {"fine_tune_type": "lora", "num_layers": 2, "model": "tiny"}
    parameters = {"rank": made.down[path].shape[0], "scale": made.scale[path], "dropout": 0.0}
    said["lora_parameters"] = parameters
    (folder / "adapter_config.json").write_text(json.dumps(said | config))
    return folder


def plan(folders, method="linear", options=None, **values):
    """The plan of a merge of these folders."""
    sources = [open_source(str(folder), folder) for folder in folders]
    return Plan(sources=sources, method=registry.build("merge", method, **(options or {})), **values)


def merged(folders, method="linear", options=None, **values):
    """The dense update of every module of a merge, without writing it."""
    found = plan(folders, method, options, **values)
    return {one.path: one.update.delta().double() for one in found.merged()}


def written(output, folders, method="linear", options=None, *, form=None, **values):
    """The merge on disk: what `merge.json` says."""
    return write_merge(plan(folders, method, options, **values), Writing(output=output, form=form))


def read(folder):
    """The dense updates of a folder of any format, as this pipeline reads them."""
    source = open_source(str(folder), folder)
    return {path: source.update(path).delta().double() for path in source.entries}


def tensors(folder, file="adapter_model.safetensors"):
    return load_file(folder / file)


def gap(one, other):
    """The largest difference between two dicts of matrices, relative to the largest number in the second."""
    assert one.keys() == other.keys()
    largest = max(float(value.abs().max()) for value in other.values())
    return max(float((one[key] - other[key]).abs().max()) for key in one) / max(largest, 1e-30)
