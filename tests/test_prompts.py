"""Prompts side by side: adapters of every format write what their merged weights write, and leave the base alone."""

import json

import pytest
import torch
import written
from transformers import AutoModelForCausalLM, AutoTokenizer

from fusion_pipeline.cli import main
from fusion_pipeline.prompting import base as bases
from fusion_pipeline.prompting.contenders import find_contenders, running
from fusion_pipeline.prompting.generating import draw, encode, generate
from fusion_pipeline.prompting.perplexity import perplexity
from fusion_pipeline.prompting.questions import Prompt, read_prompts
from fusion_pipeline.prompting.spec import GenerationSpec

PROMPTS = ["A lamp", "So it was, and so it stayed, for a good deal longer than", "x"]
SHORT = ("generation.max_new_tokens=12",)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tiny Llama, and one LoRA for it in every format."""
    place, pairs = tmp_path_factory.mktemp("written"), written.matrices()
    written.causal(place / "base")
    written.peft(place / "one-peft", pairs)
    written.mlx(place / "one-mlx", pairs)
    written.merged(place / "base", pairs, 2.0, place / "sum")
    imported = [
        "stage=import",
        "format=peft",
        f"path={place / 'one-peft'}",
        f"backbone.path={place / 'base'}",
    ]
    assert main([*imported, f"output_root={place / 'out'}", "name=one"]) == 0
    reference = "It was a dark and stormy night; the rain fell in torrents, except at occasional intervals."
    content = {
        "prompts": [{"name": f"p{i}", "prompt": p} for i, p in enumerate(PROMPTS)],
        "reference": reference,
    }
    (place / "own.yaml").write_text(json.dumps(content))
    return place


def compared(place, output, *words, base="base", adapters=()):
    """The results that the command line leaves."""
    listed = f"adapters=[{','.join(map(str, adapters))}]"
    given = [f"base={place / base}", f"prompts={place / 'own.yaml'}", listed, f"output_root={place / 'out'}"]
    assert main(["stage=prompts", *given, f"output={output}", *SHORT, *words]) == 0
    return json.loads((output / "results.json").read_text())


def said(results, name):
    return [row["said"][name] for row in results["answers"]]


def scores(results):
    return {c["name"]: c["perplexity"]["perplexity"] for c in results["contenders"]}


def test_every_format_writes_what_the_merged_weights_write(place, tmp_path):
    adapters = ["one", place / "one-peft", place / "one-mlx"]
    found = compared(place, tmp_path / "a", adapters=adapters)
    whole = compared(place, tmp_path / "b", base="sum")
    for name in ("one", "one-peft", "one-mlx"):
        assert said(found, name) == said(whole, "base")
        assert scores(found)[name] == pytest.approx(scores(whole)["base"], rel=1e-5)
    assert said(found, "one") != said(found, "base")
    assert found["overlap"]["values"][1][2] == 1.0
    assert found["overlap"]["values"][0][1] < 1.0


def test_a_merge_writes_what_the_summed_weights_write(place, tmp_path):
    other = written.matrices(seed=9)
    written.peft(tmp_path / "two", other)
    both = [f"adapters=[{place / 'one-mlx'},{tmp_path / 'two'}]", "weights=[0.25,0.75]"]
    for form in ("peft", "mlx"):
        assert (
            main(["stage=merge", *both, f"format={form}", f"output={tmp_path / form}", "report=false"]) == 0
        )
    half = written.merged(place / "base", written.matrices(), 0.25 * 2.0, tmp_path / "half")
    written.merged(half, other, 0.75 * 2.0, tmp_path / "sum")
    found = compared(place, tmp_path / "a", adapters=[tmp_path / "peft", tmp_path / "mlx"])
    whole = compared(place, tmp_path / "b", base=tmp_path / "sum")
    assert said(found, "peft") == said(found, "mlx") == said(whole, "base") != said(found, "base")
    assert scores(found)["mlx"] == pytest.approx(scores(whole)["base"], rel=1e-4)


def test_gpt2_and_a_lora_saved_for_the_bare_model(tmp_path):
    pairs = written.matrices("gpt2")
    base = written.causal(tmp_path / "base", "gpt2")
    bare = {path.removeprefix("transformer."): pair for path, pair in pairs.items()}
    written.peft(tmp_path / "bare", bare, use_rslora=True, fan_in_fan_out=True)
    whole = bases.load_base(str(written.merged(base, pairs, 6 / 3**0.5, tmp_path / "sum")), "float32")
    ids = torch.tensor([[5, 9, 77]])
    part = bases.load_base(str(base), "float32")
    (_, contender) = find_contenders([str(tmp_path / "bare")], tmp_path)
    with running(part, contender):
        torch.testing.assert_close(part.model(ids).logits, whole.model(ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("which", ["out/adapters/one", "one-peft", "one-mlx"])
def test_the_base_is_itself_again_to_the_bit(place, which):
    base = bases.load_base(str(place / "base"), "float32")
    before = {key: value.clone() for key, value in base.model.state_dict().items()}
    ids = torch.tensor([[5, 9, 77]])
    first = base.model(ids).logits
    (_, contender) = find_contenders([str(place / which)], place)
    with running(base, contender):
        assert not torch.equal(base.model(ids).logits, first)
    assert torch.equal(base.model(ids).logits, first)
    after = base.model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_greedy_is_what_transformers_writes_in_any_batch(place):
    base = bases.load_base(str(place / "base"), "float32")
    model = AutoModelForCausalLM.from_pretrained(place / "base")
    tokenizer = AutoTokenizer.from_pretrained(place / "base")
    # A saved setting that must not leak into the comparison.
    base.model.generation_config.repetition_penalty = 5.0
    prompts = [Prompt(name=str(i), text=text) for i, text in enumerate(PROMPTS)]
    for size in (1, 2, 8):
        spec = GenerationSpec(max_new_tokens=15, batch_size=size)
        found = generate(base, encode(base, prompts, spec), spec, seed=0)
        for text, answer in zip(PROMPTS, found, strict=True):
            given = tokenizer(text, return_tensors="pt")
            del given["token_type_ids"]
            whole = model.generate(**given, max_new_tokens=15, do_sample=False)[
                0, given["input_ids"].shape[1] :
            ]
            ended = (whole == tokenizer.eos_token_id).nonzero()
            wanted = whole[: ended[0, 0]] if len(ended) else whole
            assert list(answer.tokens) == wanted.tolist()
    assert base.model.generation_config.repetition_penalty == 5.0


def test_draws_are_the_seeds_and_nobody_elses(place, tmp_path):
    drawn = ("generation.temperature=1.5", "generation.top_p=0.95")
    first = compared(place, tmp_path / "a", *drawn, adapters=["one", place / "one-peft"])
    again = compared(place, tmp_path / "b", *drawn, "generation.batch_size=1", adapters=["one"])
    other = compared(place, tmp_path / "c", *drawn, "seed=1", adapters=["one"])
    greedy = compared(place, tmp_path / "d", adapters=["one"])
    assert said(first, "one") == said(first, "one-peft") == said(again, "one")
    assert said(first, "base") == said(again, "base")
    assert said(first, "one") != said(other, "one")
    assert said(first, "one") != said(greedy, "one")


def test_a_draw_follows_the_chances_and_stays_in_the_nucleus():
    chances = torch.tensor([0.5, 0.1, 0.3, 0.1])
    numbers = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    rows = chances.log().expand(1000, 4)
    assert torch.bincount(draw(rows, numbers, 1.0, 1.0), minlength=4).tolist() == [500, 100, 300, 100]
    # 0.5 and 0.3 reach 0.75 together, and share it five to three.
    assert torch.bincount(draw(rows, numbers, 1.0, 0.75), minlength=4).tolist() == [625, 0, 375, 0]
    assert draw(rows, numbers, 1.0, 1e-9).unique().tolist() == [0]
    hot = torch.bincount(draw(rows, numbers, 2.0, 1.0), minlength=4) / 1000
    torch.testing.assert_close(hot, chances.sqrt() / chances.sqrt().sum(), rtol=0, atol=2e-3)


@pytest.mark.parametrize(("window", "stride"), [(512, 511), (16, 8), (16, 15), (2, 1), (17, 5)])
def test_perplexity_counts_every_token_once_with_its_context(place, window, stride):
    base = bases.load_base(str(place / "base"), "float32")
    ids = torch.randint(5, 261, (50,), generator=torch.Generator().manual_seed(4)).tolist()
    spec = GenerationSpec(window=window, stride=stride)
    losses = []
    for place_of in range(1, len(ids)):
        # The first window start + k·stride that holds the token and one before it.
        start = max(0, -(-(place_of - window + 1) // stride) * stride)
        logits = base.model(torch.tensor([ids[start:place_of]])).logits[0, -1].double()
        losses.append(-float(logits.log_softmax(-1)[ids[place_of]]))
    found = perplexity(base, ids, spec)
    assert found.tokens == 49
    assert found.loss == pytest.approx(sum(losses) / 49, rel=1e-5)
    assert found.perplexity == pytest.approx(torch.tensor(found.loss).exp().item(), rel=1e-5)


def test_installed_prompts_and_a_list_of_plain_texts(tmp_path):
    for name in ("general", "finance"):
        found = read_prompts(name)
        assert len(found.prompts) >= 10
        assert len(found.reference.split()) > 100
    (tmp_path / "plain.yaml").write_text("- one\n- two\n")
    found = read_prompts(str(tmp_path / "plain.yaml"))
    assert [(p.name, p.text) for p in found.prompts] == [("1", "one"), ("2", "two")]
    assert found.reference is None
