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
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from fusion_pipeline import AdaptedModel
from fusion_pipeline.adapters import Bottleneck, BottleneckSpec
from fusion_pipeline.backbone import Backbone, BackboneSpec
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.heads import HeadSpec

sys.path.insert(0, str(Path(__file__).parent))
import bench_steps

ADAPTER = BottleneckSpec(reduction_factor=16)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = bench_steps.parser(__doc__)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--by-hand", action="store_true", help="also the same adapter, hand-written (n=0)")
    parser.add_argument("--full", action="store_true", help="also full fine-tuning (n=0)")
    return parser.parse_args(words)


def bert(args: argparse.Namespace) -> BertModel:
    """A BERT of the wanted shape, with the dropout BERT has."""
    return BertModel(BertConfig(**bench_steps.bert_config(args)), add_pooling_layer=False)


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


def build(args: argparse.Namespace) -> tuple[nn.Module, bench_steps.Loss, bench_steps.Loss]:
    """The model of one process, and functions from a batch to its loss and to its logits."""
    if args.one in ("by_hand", "full"):
        plain = ByHand(args, full=args.one == "full")
        return plain, plain, plain
    model = adapted(args, int(args.one))
    if args.compile:
        model.compile()
    return model, lambda **batch: model(**batch).loss, lambda **batch: model(**batch).logits


def main() -> None:
    """One process for each measured model."""
    args = parse()
    if args.one:
        bench_steps.measure(args, lambda: build(args))
        return
    extra = ["by_hand"] * args.by_hand + ["full"] * args.full
    bench_steps.each(__file__, [*extra, *map(str, args.adapters)])


if __name__ == "__main__":
    main()
