"""The measurements of scripts/bench_fusion.py, of AdapterHub's `adapters`, in an environment of its own.

    PEER/bin/python scripts/bench_adapterhub.py        # PEER: see scripts/make_golden.py

Same shapes, same arguments, same JSON lines, from that library's public API: seq_bn adapters with reduction
factor 16, one alone (n=1) or under Fuse, its fusion's default settings, its regularisation loss, and AdamW.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

import adapters
import torch
from adapters.composition import Fuse
from adapters.configuration import SeqBnConfig
from transformers import BertConfig


def parse() -> argparse.Namespace:
    """The command line of scripts/bench_fusion.py, as far as it applies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("layers", 6), ("hidden", 768), ("heads", 12), ("batch", 8), ("length", 128)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--adapters", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def build(args: argparse.Namespace) -> tuple[torch.nn.Module, list[str]]:
    """A BERT of the wanted shape with adapters, the fusion of all (or the one) active and training."""
    config = BertConfig(
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        intermediate_size=4 * args.hidden,
        max_position_embeddings=max(512, args.length),
    )
    model = adapters.BertAdapterModel(config)
    names = [f"a{n}" for n in range(int(args.one))]
    for name in names:
        model.add_adapter(name, config=SeqBnConfig(reduction_factor=16))
    model.add_classification_head("task", num_labels=2)
    if len(names) == 1:
        model.train_adapter(names)
    else:
        model.add_adapter_fusion(names)
        model.train_adapter_fusion(Fuse(*names))
    model.active_head = "task"
    return model.to(args.device), names


def measure(args: argparse.Namespace) -> None:
    """Times one model in this process and prints its lines."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, names = build(args)
    shape, half = (args.batch, args.length), args.dtype == "bfloat16"
    batch = {
        "input_ids": torch.randint(1000, 30000, shape, device=args.device),
        "attention_mask": torch.ones(shape, dtype=torch.long, device=args.device),
    }
    labels = torch.randint(0, 2, (args.batch,), device=args.device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def cast() -> object:
        return torch.autocast(args.device, dtype=torch.bfloat16) if half else nullcontext()

    def train() -> None:
        with cast():
            loss = model(**batch, labels=labels).loss
        if len(names) > 1:
            loss = loss + model.get_fusion_regularization_loss()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def infer() -> None:
        with cast():
            model(**batch)

    model.train()
    timed(args, "train", train)
    peak = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else None
    say(args, "peak_mb", value=round(peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))
    model.eval()
    timed(args, "infer", infer)


def timed(args: argparse.Namespace, what: str, step: Callable[[], None]) -> None:
    """Two steps to warm up, then the wanted number."""
    taken = []
    for number in range(2 + args.repeats):
        start = time.perf_counter()
        step()
        if args.device == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            taken.append(time.perf_counter() - start)
    say(args, what, best=round(min(taken), 5), median=round(statistics.median(taken), 5))


def say(args: argparse.Namespace, what: str, **values: float) -> None:
    """One JSON line."""
    print(json.dumps({"n": int(args.one), "what": what, **values}), flush=True)


def main() -> None:
    """One process for each number of adapters, so that each has a peak of its own."""
    args = parse()
    if args.one:
        measure(args)
        return
    for count in args.adapters:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", str(count)], check=True)


if __name__ == "__main__":
    main()
