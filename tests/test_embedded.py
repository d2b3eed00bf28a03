"""The embedded corpus: the same everywhere, disjoint splits, labels that are true, words that give nothing away."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pytest
from read_embedded import INPUTS, contents, sentences_of, texts_of

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.tasks.embedded import TASKS, generate
from fusion_pipeline.tasks.embedded.draw import SHARES, Draw, split_of
from fusion_pipeline.tasks.embedded.review_check import PLEASED

# The corpus that docs/embedded-corpus.md was measured on. A change of the grammar changes these; measure again then.
FINGERPRINTS = {
    "sentiment": "59a84c48d49aab99",
    "nli": "4659e0a64c79ba56",
    "paraphrase": "e6adfc51f0b9e286",
    "topic": "a4f4d9f333bbb9db",
    "review_check": "ce8aee4c402c9cb6",
    "interests": "7e4bcfbe38176f50",
    "roles": "e614807f2c275269",
    "retelling": "e08bd63a83434590",
    "culprit": "b1c479b161d2b254",
    "overlap": "0e76ce95b2e1f760",
}
SOURCES = ("sentiment", "nli", "paraphrase", "topic")
COUNTED = ("sentiment", "nli", "paraphrase", "topic", "review_check")
everywhere = pytest.mark.parametrize("name", list(TASKS))


def fingerprint(name):
    return hashlib.sha256(json.dumps(generate(name), sort_keys=True).encode()).hexdigest()[:16]


def rows_of(name):
    return [row for rows in generate(name).values() for row in rows]


# --- the same everywhere -----------------------------------------------------------------------------


@everywhere
def test_the_corpus_is_the_one_the_docs_were_measured_on(name):
    assert fingerprint(name) == FINGERPRINTS[name]


def test_another_process_with_another_hash_seed_generates_the_same():
    code = (
        "import hashlib, json; from fusion_pipeline.tasks.embedded import TASKS, generate;"
        "print(hashlib.sha256(json.dumps([generate(n) for n in TASKS]).encode()).hexdigest())"
    )
    root = Path(__file__).parent.parent
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=root,
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    here = hashlib.sha256(json.dumps([generate(name) for name in TASKS]).encode()).hexdigest()
    assert digests == {here + "\n"}


def test_changing_what_was_generated_does_not_change_what_is_generated_next():
    generate("topic")["test"][0]["text"] = "spoilt"
    assert fingerprint("topic") == FINGERPRINTS["topic"]


def test_an_unknown_task_is_an_error_that_names_the_nearest():
    with pytest.raises(PipelineError, match="did you mean 'sentiment'"):
        generate("sentimental")


# --- sizes, balance, splits ----------------------------------------------------------------------------


@everywhere
def test_every_split_has_its_size(name):
    assert {split: len(rows) for split, rows in generate(name).items()} == TASKS[name].sizes


@pytest.mark.parametrize("name", [*COUNTED, "interests", "retelling", "overlap"])
def test_every_label_is_there_equally_often(name):
    task = TASKS[name]
    for rows in generate(name).values():
        counts = Counter(str(row["label"]) for row in rows)
        assert len(counts) == len(task.wants)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert all(("text_pair" in row) == task.pair for row in rows)


@everywhere
def test_rows_are_distinct_short_sentences(name):
    rows = rows_of(name)
    assert len({str([row.get(key) for key in INPUTS]) for row in rows}) == len(rows)
    for row in rows:
        assert len(" ".join(texts_of(row)).split()) <= 60
        for sentence in sentences_of(row):
            assert re.fullmatch(r" ?[A-Z][A-Za-z ,;']+\.", sentence), sentence


def test_no_sentence_occurs_in_two_splits_of_any_tasks():
    claims = re.compile("|".join(claim.format(p=r"\w+") for claim in PLEASED), re.IGNORECASE)
    seen = defaultdict(set)
    for name in TASKS:
        for split, rows in generate(name).items():
            seen[split] |= {s.strip() for row in rows for s in sentences_of(row) if not claims.search(s)}
    for one, other in combinations(seen, 2):
        assert not seen[one] & seen[other]
    assert len(set.union(*seen.values())) > 10_000


def test_no_filled_template_occurs_in_two_splits():
    seen = defaultdict(set)
    for name in TASKS:
        for split, rows in generate(name).items():
            seen[split] |= {content for row in rows for s in sentences_of(row) for content in contents(s)}
    for one, other in combinations(seen, 2):
        assert not seen[one] & seen[other]
    assert min(len(found) for found in seen.values()) > 300


def test_splits_get_their_shares_of_the_content():
    found = Counter(split_of(f"content {i}") for i in range(20_000))
    for split, share in SHARES:
        assert found[split] / 20_000 == pytest.approx(share, abs=0.015)


def test_draws_are_uniform_and_two_options_always_differ():
    draw = Draw("a test")
    pairs = Counter(draw.two("abcd") for _ in range(12_000))
    assert len(pairs) == 12
    assert all(first != second for first, second in pairs)
    assert min(pairs.values()) > 850
    assert sorted(draw.shuffled(range(9))) == list(range(9))


# --- words give little away ---------------------------------------------------------------------------


def bag_of_words_accuracy(name, columns):
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    data = generate(name)
    parts = {"train": [], "test": []}
    for column in columns:
        vectors = TfidfVectorizer(ngram_range=(1, 2)).fit([row[column] for row in data["train"]])
        for split, found in parts.items():
            found.append(vectors.transform([row[column] for row in data[split]]))
    labels = {split: [row["label"] for row in data[split]] for split in parts}
    model = LogisticRegression(max_iter=1000).fit(hstack(parts["train"]), labels["train"])
    return model.score(hstack(parts["test"]), labels["test"])


@pytest.mark.parametrize(
    ("name", "limit"),
    [("sentiment", 0.76), ("nli", 0.55), ("paraphrase", 0.60), ("topic", 0.60), ("review_check", 0.62)],
)
def test_words_and_pairs_of_words_do_not_decide(name, limit):
    columns = ("text", "text_pair") if TASKS[name].pair else ("text",)
    assert bag_of_words_accuracy(name, columns) < limit


@pytest.mark.parametrize(("name", "limit"), [("nli", 0.40), ("paraphrase", 0.56), ("review_check", 0.56)])
def test_the_second_sentence_alone_tells_nothing(name, limit):
    assert bag_of_words_accuracy(name, ("text_pair",)) < limit
