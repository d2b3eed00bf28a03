"""The figures of docs/embedded-corpus.md: words alone, a linear probe, adapters, and fusion against an own adapter.

    python scripts/corpus_figures.py                                   # TF-IDF and the probe: about a minute
    python scripts/corpus_figures.py --train outputs/corpus --seeds 5  # adapters and fusions too: much longer
    python scripts/corpus_figures.py --train outputs/corpus trainer.num_train_epochs=4   # with other settings

What `--train` finds trained in its folder is used again. Settings are chosen on validation, figures are on test.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from fusion_pipeline.tasks.embedded import TASKS, deciders, generate

TARGET = "review_check"
# TF-IDF and the probe choose among classes.
CLASSES = {name: task for name, task in TASKS.items() if task.type == "classification" and task.labels}
SOURCES = tuple(name for name in CLASSES if name != TARGET)
Splits = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--train", type=Path, metavar="DIR", help="train adapters and fusions into this folder"
    )
    parser.add_argument(
        "--seeds", type=int, default=5, help="own adapters and fusions of the target (default 5)"
    )
    parser.add_argument(
        "overrides", nargs="*", help="options for the command line, such as trainer.bf16=true"
    )
    options = parser.parse_args(arguments)
    if options.train is not None and (code := train(options.train, options.seeds, options.overrides)):
        return code
    print_table(("task", "chance", "TF-IDF", "linear probe", "adapter"), baseline_rows(options.train))
    if options.train is not None:
        runs = range(options.seeds)
        print_table(("review_check", "validation", "test", "each seed"), contender_rows(options.train, runs))
        print_table(("decided by", *SOURCES), weight_rows(options.train, runs))
    return 0


def train(root: Path, seeds: int, overrides: Sequence[str]) -> int:
    """Trains through the command line, as a person would; returns its exit code."""
    command = [
        *(sys.executable, "-m", "fusion_pipeline", "stage=compare", "experiment=demo", "logging=none"),
        f"adapters=[{','.join(SOURCES)}]",
        f"target={TARGET}",
        "contenders=[single,adapterfusion]",
        f"seeds={seeds}",
        f"output_root={root}",
        *overrides,
    ]
    print("$", *command[1:], flush=True)
    return subprocess.run(command, check=False).returncode


# --- words alone, and the frozen backbone ---------------------------------------------------------


def baseline_rows(root: Path | None) -> Iterator[tuple[str, ...]]:
    """A line for every task: chance, TF-IDF, probe, and its adapter where it was trained."""
    embed = embedder()
    for name, task in CLASSES.items():
        words = test_accuracy(name, tfidf(name), standardise=False)
        probe = test_accuracy(name, embed(name), standardise=True)
        folder = None if root is None else root / "adapters" / f"{name}-seed0" / "metrics.json"
        adapter = "–" if folder is None or not folder.is_file() else percent(metrics(folder, "test"))
        yield name, percent(1 / len(task.labels or ())), percent(words), percent(probe), adapter


def tfidf(name: str) -> Splits:
    """Words and pairs of words, apart for each of a pair's texts: more than one bag could tell."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    data, parts = generate(name), defaultdict(list)
    for column in ("text", "text_pair") if TASKS[name].pair else ("text",):
        vectors = TfidfVectorizer(ngram_range=(1, 2)).fit([row[column] for row in data["train"]])
        for split, rows in data.items():
            parts[split].append(vectors.transform([row[column] for row in rows]))
    return {split: hstack(found) for split, found in parts.items()}


def embedder() -> Callable[[str], Splits]:
    """A function from a task to the frozen backbone's pooled vectors of its texts or pairs."""
    import torch

    from fusion_pipeline import AdaptedModel
    from fusion_pipeline.heads import pool
    from fusion_pipeline.registry import build

    info = AdaptedModel.from_backbone(build("backbone", "minilm")).info
    tokenizer: Any = info.tokenizer

    def vectors(rows: Sequence[dict[str, Any]]) -> Any:
        texts = [row["text"] for row in rows]
        pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        batch = tokenizer(texts, pairs, padding=True, return_tensors="pt")
        return pool(info.model(**batch).last_hidden_state, batch["attention_mask"], info.pooling)

    @torch.no_grad()
    def embed(name: str) -> Splits:
        info.model.eval()
        return {
            split: torch.cat([vectors(rows[i : i + 50]) for i in range(0, len(rows), 50)]).numpy()
            for split, rows in generate(name).items()
        }

    return embed


def test_accuracy(name: str, features: Splits, *, standardise: bool) -> float:
    """Logistic regression on train, its strength chosen on validation, its accuracy on test."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = {split: [row["label"] for row in rows] for split, rows in generate(name).items()}
    first = [StandardScaler()] if standardise else []
    models = [
        make_pipeline(*first, LogisticRegression(C=strength, max_iter=3000))
        for strength in (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    ]
    for model in models:
        model.fit(features["train"], labels["train"])
    best = max(models, key=lambda model: model.score(features["validation"], labels["validation"]))
    return float(best.score(features["test"], labels["test"]))


# --- own adapter against fusion --------------------------------------------------------------------


def contender_rows(root: Path, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """A line each for the target's own adapter and the fusion: mean ± sd over seeds."""
    for label, folder, contender in (
        ("own adapter", "baselines", "single"),
        (f"fusion of {', '.join(SOURCES)}", "fusion", "adapterfusion"),
    ):
        files = [root / folder / f"{TARGET}-{contender}-seed{seed}" / "metrics.json" for seed in seeds]
        validation, test = ([metrics(file, split) for file in files] for split in ("validation", "test"))
        yield label, spread(validation), spread(test), ", ".join(map(percent, test))


def weight_rows(root: Path, seeds: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """For each kind of claim, how much the fusions listen to each adapter on the test set."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for seed in seeds:
        for kind, weights in weights_by_kind(root / "fusion" / f"{TARGET}-adapterfusion-seed{seed}").items():
            found[kind].append(weights)
    for kind, runs in found.items():
        yield kind, *(f"{mean(run[name] for run in runs):.2f}" for name in SOURCES)


def weights_by_kind(folder: Path) -> dict[str, dict[str, float]]:
    """{source task that decides: {adapter: weight}}, averaged over layers, tokens and test examples."""
    from fusion_pipeline import AdaptedModel

    pairs = [(row["text"], row["text_pair"]) for row in generate(TARGET)["test"]]
    found: dict[str, list[Any]] = defaultdict(list)
    predictions = AdaptedModel.load(folder).predict(pairs, fusion_weights=True)
    for prediction, kind in zip(predictions, deciders(TARGET)["test"], strict=True):
        layers = [weights.mean(axis=0) for weights in prediction.fusion_weights.values()]
        found[str(kind)].append(sum(layers) / len(layers))
    # In the order of adapters=, whatever the artefacts are called.
    return {kind: dict(zip(SOURCES, sum(rows) / len(rows), strict=True)) for kind, rows in found.items()}


# --- reading and printing --------------------------------------------------------------------------


def metrics(file: Path, split: str) -> float:
    """The accuracy that a run left for a split."""
    return float(json.loads(file.read_text(encoding="utf-8"))[split]["accuracy"])


def percent(share: float) -> str:
    """0.875 as 87.5."""
    return f"{100 * share:.1f}"


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation over seeds."""
    return percent(mean(values)) + (f" ± {percent(stdev(values))}" if len(values) > 1 else "")


def print_table(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    """A Markdown table, printed line by line as it is found."""
    print("\n|", " | ".join(head), "|\n|" + "---|" * len(head), flush=True)
    for row in rows:
        print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    sys.exit(main())
