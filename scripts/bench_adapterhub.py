"""The measurements of scripts/bench_fusion.py, of AdapterHub's `adapters`, in an environment of its own.

    PEER/bin/python scripts/bench_adapterhub.py        # PEER: see scripts/make_golden.py

Same shapes, same arguments, same JSON lines, from that library's public API: seq_bn adapters with reduction
factor 16, one alone (n=1) or under Fuse, its fusion's default settings, its regularisation loss, and AdamW.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import adapters
from adapters.composition import Fuse
from adapters.configuration import SeqBnConfig
from torch import Tensor, nn
from transformers import BertConfig

sys.path.insert(0, str(Path(__file__).parent))
import bench_steps


def build(args: argparse.Namespace) -> tuple[nn.Module, bench_steps.Loss, bench_steps.Loss]:
    """A BERT of the wanted shape with adapters, the fusion of all (or the one) active and training."""
    model = adapters.BertAdapterModel(BertConfig(**bench_steps.bert_config(args)))
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

    def loss_of(**batch: Tensor) -> Tensor:
        loss = model(**batch).loss
        return loss + model.get_fusion_regularization_loss() if len(names) > 1 else loss

    return model, loss_of, lambda **batch: model(**batch).logits


def main() -> None:
    """One process for each number of adapters."""
    args = bench_steps.parser(__doc__).parse_args()
    if args.one:
        bench_steps.measure(args, lambda: build(args))
    else:
        bench_steps.each(__file__, map(str, args.adapters))


if __name__ == "__main__":
    main()
