"""Seconds and memory of merging two rank-16 adapters of a 7B-shaped model, and of the naive way beside it.

    python scripts/bench_merge.py [--threads 2] [--layers 32] [--hidden 4096] [--rank 16] [--dense]

The adapters (q, k, v, o of every layer) are random numbers in PEFT's format. Every case runs in a process of its
own: peak memory is that process's. The naive way builds 0.5·B₁A₁ + 0.5·B₂A₂ (hidden × hidden) and takes its SVD;
it is timed on one module and multiplied. `--dense` also times the methods that must build ΔW (ties, dare,
magnitude_prune).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fusion_pipeline import registry
from fusion_pipeline.interop.peft.files import CONFIG, WEIGHTS
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.output import Writing, write_merge
from fusion_pipeline.merging.plan import Plan
from fusion_pipeline.merging.tensor_file import TensorWriter

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "linear, exact (rank 2R)": ("linear", {}),
    "linear, rank=R": ("linear", {"rank": True}),
    "slerp": ("slerp", {}),
    "svd (rank R)": ("svd", {}),
}
DENSE: dict[str, tuple[str, dict[str, Any]]] = {
    "ties (rank 2R)": ("ties", {}),
    "dare (rank 2R)": ("dare", {}),
    "magnitude_prune (rank 2R)": ("magnitude_prune", {}),
}


def make(folder: Path, seed: int, options: argparse.Namespace) -> None:
    """One adapter of random numbers."""
    folder.mkdir()
    paths = [
        f"base_model.model.model.layers.{i}.self_attn.{t}" for i in range(options.layers) for t in TARGETS
    ]
    shapes: dict[str, tuple[int, ...]] = {}
    for path in paths:
        shapes |= {f"{path}.lora_A.weight": (options.rank, options.hidden)}
        shapes |= {f"{path}.lora_B.weight": (options.hidden, options.rank)}
    draw = torch.Generator().manual_seed(seed)
    with TensorWriter(folder / WEIGHTS, shapes, "float32") as file:
        for key, shape in shapes.items():
            file.write(key, 0.02 * torch.randn(shape, generator=draw))
    said = {"peft_type": "LORA", "r": options.rank, "lora_alpha": 2 * options.rank, "bias": "none"}
    said |= {"target_modules": list(TARGETS), "task_type": "CAUSAL_LM"}
    (folder / CONFIG).write_text(json.dumps(said))


def ours(root: Path, method: str, values: dict[str, Any], options: argparse.Namespace) -> float:
    """Seconds from the adapters' folders to the merged one's."""
    begin = time.monotonic()
    sources = [open_source(str(root / name), root) for name in "ab"]
    rank = options.rank if values.get("rank") else None
    plan = Plan(sources=sources, method=registry.build("merge", method), rank=rank)
    record = write_merge(plan, Writing(output=root / "out"))
    seconds = time.monotonic() - begin
    shutil.rmtree(root / "out")
    print(f"    discarded energy {record['discarded_energy']:.1%}", flush=True)
    return seconds


def naive(root: Path, options: argparse.Namespace) -> float:
    """Seconds of the dense product and its SVD for every module, from one of them."""
    path = f"model.layers.0.self_attn.{TARGETS[0]}"
    updates = [open_source(str(root / name), root).update(path) for name in "ab"]
    begin = time.monotonic()
    u, s, v = torch.linalg.svd(0.5 * updates[0].delta() + 0.5 * updates[1].delta())
    _ = (u[:, : options.rank] * s[: options.rank]) @ v[: options.rank]
    return (time.monotonic() - begin) * options.layers * len(TARGETS)


def measured(work: Callable[..., float], *values: Any, threads: int) -> tuple[float, float]:
    """(seconds, peak memory in GB) of work in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_measure, args=(theirs, work, values, threads))
    process.start()
    found = mine.recv()
    process.join()
    return found


def _measure(pipe: Any, work: Callable[..., float], values: tuple[Any, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    seconds = work(*values)
    pipe.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6))


def main() -> None:
    """Times every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("threads", 2), ("layers", 32), ("hidden", 4096), ("rank", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dense", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for seed, name in enumerate("ab"):
            make(root / name, seed, options)
        for label, (method, values) in (CASES | (DENSE if options.dense else {})).items():
            _say(label, *measured(ours, root, method, values, options, threads=options.threads))
        _say("naive, rank=R (one module × all)", *measured(naive, root, options, threads=options.threads))


def _say(label: str, seconds: float, memory: float) -> None:
    print(f"{label:34} {seconds:8.1f} s  {memory:5.2f} GB", flush=True)


if __name__ == "__main__":
    main()
