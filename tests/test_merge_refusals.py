"""What cannot be merged is refused with everything that differs, before anything is written."""

import json
import shutil

import adapter_files as files
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from fusion_pipeline import registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.merging.opening import open_source
from fusion_pipeline.merging.output import Writing, write_merge

A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def two(tmp_path):
    return [files.write_peft(tmp_path / name, files.factors(i)) for i, name in enumerate("ab")]


def stage(two, *words):
    listed = ",".join(str(folder) for folder in two)
    root = two[0].parent / "root"
    tiny.stage("stage=merge", f"adapters=[{listed}]", f"output={root / 'out'}", f"output_root={root}", *words)


def refused(two, message, *words):
    with pytest.raises(PipelineError, match=message):
        stage(two, *words)
    left = two[0].parent / "root"
    assert not left.exists() or not any(left.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["weights=[1]"], "2 adapters and 1 weights"),
        (["weights=[1,2,3]"], "2 adapters and 3 weights"),
        (["weights=[0,0]"], "all weights are zero"),
        (["weights=[1,-1]"], "sum to zero"),
        (["weights=[a,b]"], "not all finite numbers"),
        (["weights=[.nan,1]"], "not all finite numbers"),
        (["weights=0.5"], "not a list of weights"),
        (["method=ties", "density=0"], "density=0.0 is out of range"),
        (["method=ties", "density=1.5"], "density=1.5 is out of range"),
        (["method=dare", "density=-0.1"], "density=-0.1 is out of range"),
        (["method=magnitude_prune", "density=2"], "density=2.0 is out of range"),
        (["method=dare", "combining=both"], "one of linear, ties"),
        (["method=slerp", "t=1.01"], "t=1.01 is out of range"),
        (["method=slerp", "t=-1"], "t=-1.0 is out of range"),
        (["method=slerp", "weights=[2,-1]"], "no negative weights"),
        (["method=slerp", "normalize=false"], "slerp's weights are shares"),
        (["rank=0"], "rank=0 is out of range"),
        (["rank=2.5"], "no whole number"),
        (["method=cat", "rank=3"], "cat keeps every factor: the rank is 8"),
        (["dtype=int8"], "there is no dtype 'int8'"),
        (["format=onnx"], "there is no format 'onnx'"),
        (["layer_weights={9:[1,0]}"], "'9' matches no module"),
        (["layer_weights={0:[1]}"], "2 adapters and 1 weights"),
        (["layer_weights={0:7}"], "no list of weights"),
        (["layer_weights={0:[[1,0],2]}"], "not all finite numbers"),
        (["layer_weights={0-0:[1,-1]}"], "sum to zero"),
        (["same_base=maybe"], "not true or false"),
    ],
)
def test_settings_without_a_meaning(two, words, message):
    refused(two, message, *words)


def test_t_is_for_two(tmp_path):
    three = [files.write_peft(tmp_path / name, files.factors(i)) for i, name in enumerate("abc")]
    refused(three, "t lies between two adapters, and there are 3", "method=slerp", "t=0.5")


def test_one_adapter_twice(two):
    refused([two[0], two[0]], "given twice")
    refused([two[0], two[0].parent / "b" / ".." / "a"], "given twice")


def test_equal_weights_in_two_places_are_told(tmp_path, two):
    shutil.copytree(two[0], tmp_path / "copy")
    assert "the same weights" in files.written(tmp_path / "o", [two[0], tmp_path / "copy"])["notes"][0]


def test_everything_that_differs_is_listed(tmp_path):
    one = files.write_peft(tmp_path / "a", files.factors(1))
    made = files.factors(2)
    made.down = {p: torch.randn(4, 7) for p in made.down}
    other = files.write_peft(tmp_path / "b", made)
    refused(
        [one, other], r"(?s)layers.0.self_attn.q_proj: a is 12 to 10, b is 7 to 10.*layers.1.self_attn.v_proj"
    )


def test_another_base_model(tmp_path, two):
    other = files.write_peft(tmp_path / "c", files.factors(5), base_model_name_or_path="large")
    refused([two[0], other], r"different base models \(a: tiny; c: large\)")
    wanted = {p: 0.5 * (files.read(two[0])[p] + files.read(other)[p]) for p in files.PATHS}
    assert files.gap(files.merged([two[0], other], same_base=True), wanted) < 1e-6


def test_modules_of_another_model(tmp_path, two):
    paths = ["bert.encoder.layer.0.attention.self.query"]
    other = files.write_peft(tmp_path / "c", files.factors(5, paths=paths))
    refused([two[0], other], "do not belong to one model")


def test_halves_of_a_model_are_not_taken_for_each_other(tmp_path):
    folders = [
        files.write_peft(tmp_path / half, files.factors(1, paths=[f"{half}.block.0.layer.0.SelfAttention.q"]))
        for half in ("encoder", "decoder")
    ]
    refused(folders, "do not belong to one model")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"bias": "lora_only"}, "bias=lora_only"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"peft_type": "IA3"}, "peft_type=IA3"),
        ({"peft_type": "PROMPT_TUNING"}, "no updates that could be merged|not supported"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
    ],
)
def test_settings_of_peft_that_cannot_be_merged(tmp_path, two, values, message):
    other = files.write_peft(tmp_path / "c", files.factors(5), **values)
    refused([two[0], other], message)


@pytest.mark.parametrize(
    "key",
    [
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
        "base_model.model.model.layers.0.self_attn.q_proj.bias",
        "base_model.model.model.embed_tokens.lora_embedding_A",
        "base_model.model.lm_head.modules_to_save.weight",
    ],
)
def test_weights_that_are_no_update_are_never_dropped(tmp_path, two, key):
    other = files.write_peft(tmp_path / "c", files.factors(5), extra={key: torch.ones(3)})
    refused([two[0], other], f"{key.rpartition('.')[0]}.*no LoRA matrix")


@pytest.mark.parametrize(
    ("values", "extra", "message"),
    [
        ({"fine_tune_type": "dora"}, {}, "fine_tune_type=dora"),
        ({"fine_tune_type": "full"}, {}, "fine_tune_type=full"),
        ({}, {"model.layers.0.self_attn.q_proj.m": torch.ones(10)}, "q_proj.m: no LoRA matrix"),
        ({}, {"model.embed_tokens.lora_a": torch.ones(9, 4)}, "embed_tokens.lora_a: outside of the layers"),
        ({}, {"model.layers.0.mlp.switch.lora_a": torch.ones(2, 4, 9)}, "switch"),
        ({"lora_parameters": {"rank": 4, "alpha": 8}}, {}, "alpha and no scale"),
        ({"lora_parameters": {"rank": 4, "scale": "2"}}, {}, "no number"),
    ],
)
def test_what_mlx_saves_besides(tmp_path, two, values, extra, message):
    other = files.write_mlx(tmp_path / "c", files.factors(5), extra=extra, **values)
    refused([two[0], other], message)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(two, value):
    tensors = load_file(two[1] / "adapter_model.safetensors")
    tensors[A][1, 2] = value
    save_file(tensors, two[1] / "adapter_model.safetensors")
    refused(two, "holds NaN or infinite numbers")
    refused(two, "holds NaN or infinite numbers", "dry_run=true")


def test_half_a_pair(two):
    tensors = load_file(two[1] / "adapter_model.safetensors")
    del tensors[A]
    save_file(tensors, two[1] / "adapter_model.safetensors")
    refused(two, "model.layers.0.self_attn.q_proj: A is missing")


@pytest.mark.parametrize("keep", [0, 5, 100, 2000])
def test_a_file_that_is_cut_short(two, keep):
    path = two[1] / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    refused(two, "truncated or no safetensors")


def test_pickles_and_missing_files(two):
    (two[1] / "adapter_model.safetensors").rename(two[1] / "adapter_model.bin")
    refused(two, "is a pickle and is not read")
    refused([two[0], two[1] / "adapter_model.bin"], "only safetensors are read")
    (two[1] / "adapter_config.json").write_text("{")
    refused(two, "is not JSON")
    (two[1] / "adapter_config.json").write_text("{}")
    refused(two, "no adapter of a known format")
    refused([two[0], two[1] / "nowhere"], "there is no artefact")


def test_numbers_too_large_for_the_type_leave_nothing(tmp_path):
    folder = files.write_peft(tmp_path / "a", files.factors(1))
    with pytest.raises(PipelineError, match="too large for float16"):
        files.written(tmp_path / "out", [folder], "task_arithmetic", weights=[1e9], dtype="float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


# --- the output folder ------------------------------------------------------------------------------


def test_an_input_is_never_written_over(two):
    for output in (two[0], two[0] / "inside", two[0].parent):
        with pytest.raises(PipelineError, match="in or over the input"):
            stage(two, f"output={output}", "overwrite=true")
    assert {path.name for path in two[0].iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


def test_another_adapter_is_replaced_only_when_told(two, capsys):
    stage(two)
    stage(two)
    assert "there already" in capsys.readouterr().out
    out = two[0].parent / "root" / "out"
    before = files.tensors(out)
    with pytest.raises(PipelineError, match="an adapter lies here already"):
        stage(two, "weights=[1,2]")
    assert tiny.same(files.tensors(out), before)
    stage(two, "weights=[1,2]", "overwrite=true")
    assert not tiny.same(files.tensors(out), before)
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_what_is_no_adapter_is_not_replaced(two):
    out = two[0].parent / "root" / "out"
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(PipelineError, match="no adapter"):
        stage(two, "overwrite=true")
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_merge_that_fails_midway_keeps_the_former_one(two, monkeypatch):
    stage(two)
    out = two[0].parent / "root" / "out"
    before = (out / "merge.json").read_text()
    plan = files.plan(two, weights=[1, 2])
    kept = list(plan.merged())

    def broken(_):
        yield kept[0]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(plan), "merged", broken)
    with pytest.raises(PipelineError, match="the disk is full"):
        write_merge(plan, Writing(output=out, overwrite=True))
    assert (out / "merge.json").read_text() == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]


# --- other kinds ------------------------------------------------------------------------------------


def test_ours_without_a_backbone_asks_for_one(tmp_path, two):
    with pytest.raises(PipelineError, match="knows its backbone"):
        files.written(tmp_path / "out", two, form="native")


def test_a_backbone_of_other_widths_or_names(two):
    words = ("format=native", "name=x", "output=null")
    with pytest.raises(PipelineError, match="12 to 10, and the linear is 32 to 32"):
        stage(two, *words, "backbone.random=llama")
    with pytest.raises(PipelineError, match="no place in a backbone of type bert"):
        stage(two, *words, "backbone.random=bert")


def test_factors_of_different_ranks_are_not_averaged_apart(tmp_path):
    folders = [files.write_peft(tmp_path / f"in{i}", files.factors(i, rank=2 + i)) for i in range(2)]
    with pytest.raises(PipelineError, match="factors of different ranks"):
        files.plan(folders, "factorwise")


def test_nothing_named_in_a_file_is_followed(tmp_path, two):
    """A base model's path, and patterns, are text and nothing else."""
    said = json.loads((two[0] / "adapter_config.json").read_text())
    said |= {
        "base_model_name_or_path": str(tmp_path / "never-read"),
        "auto_mapping": {"base_model_class": "os"},
    }
    (two[0] / "adapter_config.json").write_text(json.dumps(said))
    source = open_source(str(two[0]), two[0])
    assert source.base.name == str(tmp_path / "never-read")
    assert registry.build("merge", "linear").kind == "linear"
