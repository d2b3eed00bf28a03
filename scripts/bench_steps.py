"""What both speed benchmarks share: arguments, batch, timing, and one process for each measured model.

Needs torch alone, so that it runs in either environment.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[..., Tensor]


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments; the defaults are the shape that published CPU figures use."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("layers", 6), ("hidden", 768), ("heads", 12), ("batch", 8), ("length", 128)):
        made.add_argument(f"--{name}", type=int, default=value)
    made.add_argument("--adapters", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    made.add_argument("--repeats", type=int, default=5)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    made.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    made.add_argument("--one", help=argparse.SUPPRESS)
    return made


def bert_config(args: argparse.Namespace) -> dict[str, int]:
    """The keywords of a `BertConfig` of the wanted shape."""
    return {
        "hidden_size": args.hidden,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.heads,
        "intermediate_size": 4 * args.hidden,
        "max_position_embeddings": max(512, args.length),
    }


def each(script: str, models: Iterable[str]) -> None:
    """Measures every model in a process of its own, so that each has a peak of its own."""
    for one in models:
        subprocess.run([sys.executable, script, *sys.argv[1:], "--one", one], check=True)


def measure(args: argparse.Namespace, build: Callable[[], tuple[nn.Module, Loss, Loss]]) -> None:
    """Times a model's training step and inference in this process and prints its lines.

    `build` gives the model, a function from a batch with labels to the loss, and one from a batch to logits.
    """
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, loss_of, logits_of = build()
    model.to(args.device)
    batch, labels = _batch(args)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)

    def train() -> None:
        with _cast(args):
            loss = loss_of(**batch, labels=labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def infer() -> None:
        with _cast(args):
            logits_of(**batch)

    model.train()
    _time(args, "train", train)
    _say(args, "peak_mb", value=round(_peak(args), 1))
    model.eval()
    _time(args, "infer", infer)


def _batch(args: argparse.Namespace) -> tuple[dict[str, Tensor], Tensor]:
    shape = (args.batch, args.length)
    inputs = {
        "input_ids": torch.randint(1000, 30000, shape, device=args.device),
        "attention_mask": torch.ones(shape, dtype=torch.long, device=args.device),
    }
    return inputs, torch.randint(0, 2, (args.batch,), device=args.device)


def _cast(args: argparse.Namespace) -> AbstractContextManager[Any]:
    half = args.dtype == "bfloat16"
    return torch.autocast(args.device, dtype=torch.bfloat16) if half else nullcontext()


def _time(args: argparse.Namespace, what: str, step: Callable[[], None]) -> None:
    """Two steps to warm up, then the wanted number."""
    taken = []
    for number in range(2 + args.repeats):
        start = time.perf_counter()
        step()
        if args.device == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            taken.append(time.perf_counter() - start)
    _say(args, what, best=round(min(taken), 5), median=round(statistics.median(taken), 5))


def _peak(args: argparse.Namespace) -> float:
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _say(args: argparse.Namespace, what: str, **values: float) -> None:
    n, tag = (int(args.one), "") if args.one.isdigit() else (0, f"{args.one}_")
    print(json.dumps({"n": n, "what": f"{tag}{what}", **values}), flush=True)
