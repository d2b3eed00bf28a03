"""Learning is real: the defaults on real sentences with the real backbone."""

import csv
import gzip
import json
import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.minilm]
REVIEWS = ("sentences_amazon_cells", "sentences_imdb", "sentences_yelp")


@pytest.mark.shared_data
def test_the_defaults_learn_3000_review_sentences_in_two_epochs(cli):
    rows = []
    for name in REVIEWS:
        for split in ("train", "validation", "test"):
            with gzip.open(Path(os.environ["FUSION_DATA"]) / name / f"{split}.jsonl.gz", "rt") as file:
                rows += [json.loads(line) for line in file]
    with (cli.folder / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "stars"])
        writer.writerows([row["text"], ("bad", "good")[row["label"]]] for row in rows)
    done = cli(
        *("stage=adapters", "task=reviews.csv", "columns.text=body", "columns.label=stars"),
        *("trainer.num_train_epochs=2", "logging=none"),
    )
    assert done.returncode == 0, done.stderr
    metrics = json.loads((cli.folder / "outputs/adapters/reviews/metrics.json").read_text())
    assert len(rows) == 3000
    assert metrics["test"]["accuracy"] > 0.85


def test_the_installed_backbone_is_the_official_one_and_knows_english():
    from fusion_pipeline import AdaptedModel
    from fusion_pipeline.registry import build

    model = AdaptedModel.from_backbone(build("backbone", "minilm"))
    assert model.info.pooling == "mean"
    assert model.info.describe()["layers"] == 6
    texts = ["A man is playing a guitar.", "Someone plays an instrument.", "The stock market fell."]
    batch = model.info.tokenizer(texts, padding=True, return_tensors="pt")
    import torch

    from fusion_pipeline.heads import pool

    with torch.no_grad():
        states = model.backbone(**batch).last_hidden_state
    first, second, third = torch.nn.functional.normalize(pool(states, batch["attention_mask"], "mean"))
    assert first @ second > first @ third + 0.2
