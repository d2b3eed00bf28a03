"""PEFT's files give the function that they describe, and come back from ours; what has no place is refused."""

import json

import pytest
import tiny
import torch
from kinds import outputs, part, with_kind
from safetensors.torch import load_file, save_file

from fusion_pipeline import AdaptedModel
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.interop.peft import exchange
from fusion_pipeline.interop.peft.matrices import paths_of

EXPORTED = [("bert", "lora"), ("gpt2", "lora"), ("albert", "lora"), ("bert", "prompt")]
PLAIN = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 4, "lora_alpha": 8, "bias": "none"}
QUERY, VALUE = "encoder.layer.{}.attention.self.query", "encoder.layer.{}.attention.self.value"


def write(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**PLAIN, **config}))
    return folder


def matrices(ranks=(4, 4), stem="base_model.model.", d=32):
    """LoRA matrices of the queries of both layers and the values, of these ranks."""
    draw, found = torch.Generator().manual_seed(3), {}
    for rank, path in zip(ranks, (QUERY, VALUE), strict=True):
        for layer in range(2):
            name = f"{stem}{path.format(layer)}"
            found[f"{name}.lora_A.weight"] = torch.randn(rank, d, generator=draw)
            found[f"{name}.lora_B.weight"] = torch.randn(d, rank, generator=draw)
    return found


def merged(tensors, scale_of):
    """A bare BERT with every delta added to its weight, by hand."""
    model = tiny.adapted()
    for key in [key for key in tensors if "lora_A" in key]:
        path = key.split("base_model.model.")[1].removeprefix("bert.").removesuffix(".lora_A.weight")
        linear = model.backbone.get_submodule(path)
        with torch.no_grad():
            linear.weight += scale_of(path) * tensors[key.replace("lora_A", "lora_B")] @ tensors[key]
    return outputs(model.eval()).last_hidden_state


def imported(folder):
    model = tiny.adapted()
    found = exchange.read(model, folder, head=None, adapters=[])
    return outputs(model.eval()).last_hidden_state, found, model


@pytest.mark.parametrize(
    ("values", "scale"),
    [({}, 2), ({"use_rslora": True}, 4), ({"lora_alpha": 3}, 0.75)],
)
def test_a_lora_is_what_its_merged_weights_are(tmp_path, values, scale):
    tensors = matrices(stem="base_model.model.bert.")
    found, said, model = imported(write(tmp_path / "lora", tensors, **values))
    torch.testing.assert_close(found, merged(tensors, lambda _: scale), rtol=0, atol=1e-4)
    assert said.adapters == ["lora"]
    assert part(model, "lora").spec.targets == ("query", "value")
    assert not any("filled up" in note for note in said.notes)


def test_patterns_of_ranks_and_alphas_are_kept_in_one_rank(tmp_path):
    tensors = matrices(ranks=(4, 2))
    values = {"rank_pattern": {"value": 2}, "alpha_pattern": {r"1\.attention\.self\.query": 16}}
    found, said, model = imported(write(tmp_path / "lora", tensors, **values))
    wanted = merged(
        tensors, lambda p: 4 if p.endswith("value") or p.endswith("1.attention.self.query") else 2
    )
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    assert any("filled up with zeros" in note for note in said.notes)
    assert part(model, "lora").at("value.0").down.shape == (4, 32)


def test_layers_without_a_matrix_are_skipped(tmp_path):
    tensors = {key: value for key, value in matrices().items() if ".1." in key}
    found, _, model = imported(write(tmp_path / "lora", tensors))
    assert part(model, "lora").spec.skip_layers == (0,)
    torch.testing.assert_close(found, merged(tensors, lambda _: 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("family", "kind"), EXPORTED)
def test_what_was_exported_comes_back(tmp_path, family, kind):
    model = with_kind(family, kind)
    exchange.write(model, tmp_path / "out")
    twin = tiny.adapted(family)
    exchange.read(twin, tmp_path / "out", head=None, adapters=[])
    assert torch.equal(outputs(twin.eval()).last_hidden_state, outputs(model).last_hidden_state)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert all(key == "prompt_embeddings" or key.startswith("base_model.model.") for key in tensors)


def test_every_path_names_a_linear_of_the_backbone():
    model = tiny.adapted("deberta-v2")
    for path in paths_of(model):
        assert isinstance(model.backbone.get_submodule(path), torch.nn.Linear)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "all"}, "bias=all"),
        ({"modules_to_save": ["classifier"]}, r"modules_to_save=\['classifier'\]"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"novelty": 1}, "novelty=1"),
        ({"peft_type": "LOHA"}, "peft_type=LOHA"),
        ({"lora_alpha": "8"}, "lora_alpha=8: it is no number"),
    ],
)
def test_settings_without_a_place_are_refused(tmp_path, values, message):
    with pytest.raises(PipelineError, match=message):
        imported(write(tmp_path / "lora", matrices(), **values))


def test_every_refused_setting_is_listed_at_once(tmp_path):
    with pytest.raises(PipelineError, match=r"(?s)bias=all.*use_dora=True"):
        imported(write(tmp_path / "lora", matrices(), use_dora=True, bias="all"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"base_model.model.{QUERY.format(0)}.lora_B.weight"), "missing: .*query.lora_B"),
        (lambda t: t.update({"base_model.model.pooler.dense.lora_A.weight": torch.zeros(4, 32)}), "pooler"),
        (lambda t: t.update({"lora_magnitude_vector": torch.zeros(4)}), "unexpected: lora_magnitude"),
        (lambda t: t.update(matrices(d=16)), "the linear is 32 to 32"),
        (lambda t: [t.pop(k) for k in list(t) if f"{QUERY.format(0)}.lora" in k], "nothing at query.0"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    tensors = matrices()
    change(tensors)
    with pytest.raises(PipelineError, match=message):
        imported(write(tmp_path / "lora", tensors))


def test_only_a_lora_or_a_prompt_has_a_place(tmp_path):
    with pytest.raises(PipelineError, match="one LoRA or one prompt"):
        exchange.write(with_kind("bert", "pfeiffer"), tmp_path / "out")
    with pytest.raises(PipelineError, match="nothing of PEFT's format"):
        imported(tmp_path)


def test_the_stages_import_and_export_it(tmp_path):
    words = ("format=peft", f"output_root={tmp_path}")
    given = write(tmp_path / "mine", matrices())
    tiny.stage("stage=import", f"path={given}", *words)
    folder = tmp_path / "adapters" / "mine"
    model = AdaptedModel.load(folder)
    tiny.stage("stage=export", f"run={folder}", f"output={tmp_path / 'out'}", *words)
    again, _, _ = imported(tmp_path / "out")
    assert torch.equal(outputs(model).last_hidden_state, again)
