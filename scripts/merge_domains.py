"""Adapters of other reviews merged for kitchen reviews, against single adapters, fusion and an adapter of its own.

    FUSION_DATA=FOLDER python scripts/merge_domains.py outputs/domains [SEED ...]

Three seeds, all-MiniLM-L6-v2, LoRA. What is there already is used again; the table is printed and written at the end.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path

from fusion_pipeline.cli import main as command

SOURCES = ("sst2", "imdb", "mr", "mds_books", "mds_dvd", "mds_electronics")
TARGET, SEEDS = "mds_kitchen", (0, 1, 2)
FUSED, OWN, SEARCHED_NAME = "AdapterFusion, trained on the target", "own adapter", "searched"
PAIRS = ((SEARCHED_NAME, "plain average"), (OWN, SEARCHED_NAME), (OWN, FUSED))
Scores = dict[str, list[tuple[float, float]]]
DATA = ["data=local", "data.max_train=1000", "data.max_validation=200", "data.max_test=400"]
TRAINED = ["backbone.max_length=96", "adapter=lora", "trainer.bf16=true", "trainer.num_train_epochs=2"]
SEARCHED = ["search=true", "searching.budget=30"]


def main(root: Path, seeds: tuple[int, ...]) -> int:
    """Trains, merges and compares."""
    data = [*DATA, f"data.root={os.environ['FUSION_DATA']}", "logging=none"]
    for seed in seeds:
        place, sources = root / f"seed{seed}", f"adapters=[{','.join(SOURCES)}]"
        own = [*data, *TRAINED, f"seed={seed}", f"output_root={place}", "resume=true"]
        tasks = f"task=[{','.join((*SOURCES, TARGET))}]"
        _do("stage=adapters", tasks, "trainer.learning_rate=3e-3", *own)
        _do("stage=fusion", sources, f"target={TARGET}", "trainer.learning_rate=1e-3", *own)
        merged = ["stage=merge", sources, f"task={TARGET}", *data, f"seed={seed}", f"output_root={place}"]
        if not (place / "adapters/kitchen-searched/search.json").is_file():
            _do(*merged, *SEARCHED, "name=kitchen-searched", "overwrite=true")
    found = scores(root, seeds)
    lines = [*table(found), "", *differences(found)]
    (root / "merge_domains.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return 0


def scores(root: Path, seeds: tuple[int, ...]) -> Scores:
    """Everyone's accuracy on validation and test, a pair a seed."""
    found: Scores = {}
    for seed in seeds:
        place = root / f"seed{seed}"
        search = json.loads((place / "adapters/kitchen-searched/search.json").read_text(encoding="utf-8"))
        singles = search["standings"][: len(SOURCES)]
        best = max(singles, key=lambda one: (one["validation"]["accuracy"], -one["validation"]["loss"]))
        for one in [*search["standings"], best | {"name": "best single (chosen on validation)"}]:
            found.setdefault(one["name"], []).append(_accuracies(one))
        for kind, name in (("fusion", FUSED), ("adapters", OWN)):
            metrics = json.loads((place / kind / TARGET / "metrics.json").read_text(encoding="utf-8"))
            found.setdefault(name, []).append(_accuracies(metrics))
    return found


def table(found: Scores) -> list[str]:
    """Mean ± standard deviation over seeds, in per cent."""
    rows = [
        f"| {name} | {_said([v for v, _ in pairs])} | {_said([t for _, t in pairs])} |"
        for name, pairs in found.items()
    ]
    return ["| adapter | validation accuracy | test accuracy |", "|---|---|---|", *rows]


def _accuracies(metrics: dict[str, dict[str, float]]) -> tuple[float, float]:
    return 100 * metrics["validation"]["accuracy"], 100 * metrics["test"]["accuracy"]


def differences(found: Scores) -> list[str]:
    """Paired differences on test over seeds."""
    from scipy import stats

    lines = []
    for one, other in PAIRS:
        a, b = ([test for _, test in found[name]] for name in (one, other))
        if len(a) > 1:
            p, mean = float(stats.ttest_rel(a, b).pvalue), statistics.mean(a) - statistics.mean(b)
            lines.append(
                f"{one} against {other}: {mean:+.1f} points on test (paired t-test over seeds p = {p:.3f})"
            )
    return lines


def _said(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f}" + (
        f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    )


def _do(*words: str) -> None:
    print("$ python -m fusion_pipeline", *words, flush=True)
    code = command(list(words))
    if code != 0:
        raise SystemExit(code)


if __name__ == "__main__":
    if len(sys.argv) < 2 or "FUSION_DATA" not in os.environ:
        raise SystemExit(__doc__)
    sys.exit(main(Path(sys.argv[1]), tuple(map(int, sys.argv[2:])) or SEEDS))
