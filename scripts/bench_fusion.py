"""Times training and inference over 1, 2, 4, … adapters on a BERT-shaped model with random weights.

    python scripts/bench_fusion.py                                   # the defaults, on the CPU
    python scripts/bench_fusion.py --device cuda --dtype bfloat16 --layers 12 --batch 32 --full

Prints one JSON line a measurement: {"n": 16, "what": "train", "best": seconds, "median": seconds}, the same for
"infer", and {"n": 16, "what": "peak_mb", "value": …} (peak of the whole process, one process for each n; on a
GPU the peak of its allocated memory). "train" is forward, penalty, backward and AdamW; n=1 is the plain adapter.
--by-hand adds the same adapter written into the backbone by hand, --full full fine-tuning, both under n=0 with
their name in "what". Needs nothing but torch, transformers and fusion_pipeline.
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
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from fusion_pipeline import AdaptedModel
from fusion_pipeline.adapters import Bottleneck, BottleneckSpec
from fusion_pipeline.backbone import Backbone, BackboneSpec
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import HeadSpec

ADAPTER = BottleneckSpec(reduction_factor=16)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line; the defaults are the shape that published CPU figures use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, value in (("layers", 6), ("hidden", 768), ("heads", 12), ("batch", 8), ("length", 128)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--adapters", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--by-hand", action="store_true", help="also the same adapter, hand-written (n=0)")
    parser.add_argument("--full", action="store_true", help="also full fine-tuning (n=0)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def bert(args: argparse.Namespace) -> BertModel:
    """A BERT of the wanted shape, with the dropout BERT has."""
    config = BertConfig(
        hidden_size=args.hidden,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        intermediate_size=4 * args.hidden,
        max_position_embeddings=max(512, args.length),
    )
    return BertModel(config, add_pooling_layer=False)


def adapted(args: argparse.Namespace, count: int) -> AdaptedModel:
    """The model that the stages train: one adapter, or a fusion of several; what trains is unfrozen."""
    backbone = bert(args).requires_grad_(False)
    spec = BackboneSpec(kind="bench", path="bench")
    model = AdaptedModel(
        Backbone(spec=spec, name="bench", model=backbone, tokenizer=None, pooling="first", fingerprint="")
    )
    names = [f"a{n}" for n in range(count)]
    for name in names:
        model.add_adapter(name, ADAPTER)
    model.add_head("task", HeadSpec(type="classification", labels=("no", "yes")))
    if count == 1:
        model.train_only(adapters=names, heads=["task"])
        model.set_active("a0", head="task")
    else:
        # Score dropout as the library `adapters` has it by default.
        model.add_fusion("f", AdapterFusionSpec(dropout=0.1), names)
        model.train_only(fusion="f", heads=["task"])
        model.set_active(names, fusion="f", head="task")
    return model


class ByHand(nn.Module):
    """A frozen BERT whose layers' last norm was replaced by `LN(s + Δ(LN(s)))`, and a head: nothing of the pipeline."""

    def __init__(self, args: argparse.Namespace, *, full: bool = False) -> None:
        super().__init__()
        self.backbone = bert(args).requires_grad_(full)
        self.head = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(args.hidden, args.hidden),
            nn.Tanh(),
            nn.Dropout(0.1),
            nn.Linear(args.hidden, 2),
        )
        for layer in [] if full else self.backbone.encoder.layer:
            layer.output.LayerNorm = _AdaptedNorm(layer.output.LayerNorm, args.hidden)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Tensor:
        """The loss, or without labels the logits."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits = self.head(states[:, 0]).float()
        return logits if labels is None else nn.functional.cross_entropy(logits, labels)


class _AdaptedNorm(nn.Module):
    def __init__(self, norm: nn.LayerNorm, hidden: int) -> None:
        super().__init__()
        self.norm, self.adapter = norm, Bottleneck(ADAPTER, hidden, hidden)

    def forward(self, s: Tensor) -> Tensor:
        x = self.norm(s)
        down, up = self.adapter.down, self.adapter.up
        return self.norm(s + up(torch.relu(down(x))))


def build(args: argparse.Namespace) -> tuple[nn.Module, Callable[..., Tensor]]:
    """The model of one process and a function from a batch to its loss (or its logits)."""
    if args.one in ("by_hand", "full"):
        plain = ByHand(args, full=args.one == "full")
        return plain, plain
    model = adapted(args, int(args.one))
    return model, lambda **batch: model(**batch).loss if "labels" in batch else model(**batch).logits


def measure(args: argparse.Namespace) -> None:
    """Times one model in this process and prints its lines."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model, run = build(args)
    model.to(args.device)
    if args.compile:
        model.compile()
    half = args.dtype == "bfloat16"
    cast: Callable[[], AbstractContextManager[object]] = (
        (lambda: torch.autocast(args.device, dtype=torch.bfloat16)) if half else nullcontext
    )
    shape = (args.batch, args.length)
    batch = {
        "input_ids": torch.randint(1000, 30000, shape, device=args.device),
        "attention_mask": torch.ones(shape, dtype=torch.long, device=args.device),
    }
    labels = torch.randint(0, 2, (args.batch,), device=args.device)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True)

    def train() -> None:
        with cast():
            loss = run(**batch, labels=labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def infer() -> None:
        with cast():
            run(**batch)

    name = {"n": int(args.one), "tag": ""} if args.one.isdigit() else {"n": 0, "tag": f"{args.one}_"}
    model.train()
    _time(args, name, "train", train)
    _say(name, "peak_mb", value=round(_peak(args), 1))
    model.eval()
    _time(args, name, "infer", infer)


def _time(args: argparse.Namespace, name: dict[str, object], what: str, step: Callable[[], None]) -> None:
    taken = []
    for number in range(2 + args.repeats):
        start = time.perf_counter()
        step()
        if args.device == "cuda":
            torch.cuda.synchronize()
        if number >= 2:
            taken.append(time.perf_counter() - start)
    _say(name, what, best=round(min(taken), 5), median=round(statistics.median(taken), 5))


def _peak(args: argparse.Namespace) -> float:
    if args.device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _say(name: dict[str, object], what: str, **values: float) -> None:
    print(json.dumps({"n": name["n"], "what": f"{name['tag']}{what}", **values}), flush=True)


def main() -> None:
    """One process for each measured model, so that each has a peak of its own."""
    args = parse()
    if args.one:
        measure(args)
        return
    models = ["by_hand"] * args.by_hand + ["full"] * args.full + [str(n) for n in args.adapters]
    for one in models:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--one", one], check=True)


if __name__ == "__main__":
    main()
