"""What a comparison of prompts leaves, and what it refuses before anything runs."""

import itertools
import json
import random
from html.parser import HTMLParser

import pytest
import written
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from fusion_pipeline.cli import main
from fusion_pipeline.prompting.overlap import common_length, rouge_l

EVIL = "<script>alert('x')</script> | `code` ```fence``` *stars* & [a](b)"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("refused")
    written.causal(place / "base")
    written.peft(place / "a" / "same", written.matrices())
    written.peft(place / "b" / "same", written.matrices(seed=2))
    (place / "own.yaml").write_text(json.dumps([{"name": EVIL, "prompt": EVIL}, "plain"]))
    return place


def words(place, *more):
    given = [f"base={place / 'base'}", f"prompts={place / 'own.yaml'}", f"output={place / 'out'}"]
    return ["stage=prompts", *given, "generation.max_new_tokens=4", *more]


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.cells.append(data)


def test_reports_show_texts_as_they_are_and_refuse_to_be_overwritten(place, tmp_path, capsys):
    (tmp_path / "text.txt").write_text(EVIL)
    given = [f"adapters=[{place / 'a/same'},{place / 'b/same'}]", f"reference={tmp_path / 'text.txt'}"]
    assert main(words(place, *given)) == 0
    page = Page((place / "out" / "report.html").read_text())
    assert f"{EVIL}\n{EVIL}" in page.cells
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "href", "onclick"} & set(page.attributes)
    report = (place / "out" / "report.md").read_text()
    assert f"````\n{EVIL}\n````" in report
    results = json.loads((place / "out" / "results.json").read_text())
    assert results["overlap"]["names"] == ["base", "a/same", "b/same"]
    assert results["contenders"][1]["sha256"] != results["contenders"][2]["sha256"]
    assert all(c["perplexity"]["tokens"] == len(EVIL) for c in results["contenders"])
    capsys.readouterr()
    assert main(words(place, "seed=5")) != 0
    assert "overwrite=true" in capsys.readouterr().err
    assert json.loads((place / "out" / "results.json").read_text()) == results
    assert main(words(place, "seed=5", "overwrite=true")) == 0
    assert json.loads((place / "out" / "results.json").read_text())["seed"] == 5


def test_a_dry_run_checks_and_writes_nothing(place, tmp_path, capsys):
    output = f"output={tmp_path / 'none'}"
    assert main(words(place, output, f"adapters=[{place / 'a/same'}]", "dry_run=true")) == 0
    assert "dry run" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()


def refused(capsys, given):
    capsys.readouterr()
    assert main(given) != 0
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no prompts file"),
        ("[]", "list of prompts is empty"),
        ("", "no list of prompts"),
        ("text", "no list of prompts"),
        ("{prompts: {a: b}}", "no list of prompts"),
        ("{prompt: [a]}", "did you mean 'prompts'?"),
        ("- {name: a, prompts: b}", "did you mean 'prompt'?"),
        ("- 3", "3 is no prompt"),
        ("- '  '", "is no prompt"),
        ("- {name: a, prompt: x}\n- {name: a, prompt: y}", "two prompts have the name a"),
        ("- [", "is not yaml"),
        ("{prompts: [a], reference: 3}", "the reference is no text"),
    ],
)
def test_prompts_files_that_are_none(place, tmp_path, capsys, content, message):
    path = tmp_path / "own.yaml"
    if content is not None:
        path.write_text(content)
    assert message in refused(capsys, words(place, f"prompts={path}", f"output={tmp_path / 'o'}"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("generation.max_new_tokens=0", "max_new_tokens=0"),
        ("generation.temperature=-1", "temperature=-1"),
        ("generation.top_p=0.5", "temperature=0 draws none"),
        ("generation.top_p=1.5", "top_p=1.5"),
        ("generation.stride=1024", "stride=1024"),
        ("generation.temprature=1", "temperature"),
        ("generation.max_new_tokens=510", "leave room for the answer"),
        ("generation.chat=true", "no chat template"),
        ("reference=nowhere.txt", "the reference text cannot be read"),
        ("adapters=[nowhere]", "there is no artefact 'nowhere'"),
        ("base=/nowhere", "there is no backbone folder /nowhere\n  where: base=/nowhere\n  try:"),
    ],
)
def test_settings_out_of_range(place, tmp_path, capsys, setting, message):
    assert message in refused(capsys, words(place, f"output={tmp_path / 'o'}", setting))
    assert not (tmp_path / "o").exists()


def test_bases_that_do_not_write(place, tmp_path, capsys):
    config = AutoConfig.for_model("bert", **written.SIZES, intermediate_size=64)
    AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path / "masked")
    config = AutoConfig.for_model("llama", **written.SIZES, intermediate_size=64)
    AutoModel.from_config(config).save_pretrained(tmp_path / "bare")
    AutoModel.from_config(AutoConfig.for_model("distilbert", dim=32, n_layers=1, n_heads=2)).save_pretrained(
        tmp_path / "distil"
    )
    for name in ("masked", "bare", "distil"):
        message = refused(capsys, words(place, f"base={tmp_path / name}", f"output={tmp_path / 'o'}"))
        assert "the base is not a causal language model" in message


def test_adapters_that_do_not_fit(place, tmp_path, capsys):
    written.peft(tmp_path / "gpt2", written.matrices("gpt2"))
    written.peft(tmp_path / "dora", written.matrices(), use_dora=True)
    wide = {path: (down.repeat(1, 2), up) for path, (down, up) in written.matrices().items()}
    written.mlx(tmp_path / "wide", wide)
    (tmp_path / "empty").mkdir()
    wanted = {
        "gpt2": "transformer.h.0.attn.c_attn: the base has no such linear",
        "dora": "use_dora",
        "wide": "matrices (3, 64) and (32, 3), and it is 32 to 32",
        "empty": "no adapter of a known format",
    }
    for name, message in wanted.items():
        given = [f"adapters=[{place / 'a/same'},{tmp_path / name}]", f"output={tmp_path / 'o'}"]
        assert message in refused(capsys, words(place, *given))
    given = f"adapters=[{place / 'a/same'},{place / 'a/same'}]"
    assert "named twice" in refused(capsys, words(place, given, f"output={tmp_path / 'o'}"))


def test_an_adapter_of_ours_on_another_base(place, tmp_path, capsys):
    written.causal(tmp_path / "other", seed=7)
    given = ["stage=import", "format=peft", f"path={place / 'a/same'}", f"backbone.path={tmp_path / 'other'}"]
    assert main([*given, f"output_root={tmp_path}", "name=theirs"]) == 0
    message = refused(
        capsys, words(place, f"adapters=[{tmp_path / 'adapters/theirs'}]", f"output={tmp_path / 'o'}")
    )
    assert "trained on another backbone" in message


def test_common_subsequences_against_all_subsequences():
    def brute(one, other):
        kept = (c for n in range(len(one), -1, -1) for c in itertools.combinations(one, n))
        return next(len(c) for c in kept if all(token in rest for rest in [iter(other)] for token in c))

    source = random.Random(0)
    for _ in range(60):
        one, other = ([source.randrange(4) for _ in range(source.randrange(8))] for _ in range(2))
        assert common_length(one, other) == common_length(other, one) == brute(one, other)
    assert rouge_l([1, 2, 3], [1, 3]) == pytest.approx(0.8)
    assert rouge_l([], []) == 1.0
    assert rouge_l([], [1]) == 0.0
