"""Adapters of PEFT, of MLX-LM and of ours, in and out of a merge: nothing is lost on the way and nothing is dropped."""

import json

import adapter_files as files
import pytest
import tiny
import torch

from fusion_pipeline import AdaptedModel
from fusion_pipeline.merging.opening import open_source


def config(folder):
    return json.loads((folder / "adapter_config.json").read_text())


def lora(family="llama", **values):
    """An adapted model with a random LoRA, and its outputs."""
    from fusion_pipeline.adapters.lora import LoraSpec

    model = tiny.adapted(family)
    model.add_adapter("a", LoraSpec(**{"targets": ("query", "value"), "rank": 3, **values}))
    tiny.shake(model.adapters["a"])
    return model


# --- round trips ------------------------------------------------------------------------------------


def test_peft_to_mlx_and_back_is_bit_for_bit(tmp_path):
    made = files.factors(1, scale=1.5)
    given = files.write_peft(tmp_path / "peft", made)
    files.written(tmp_path / "mlx", [given], form="mlx")
    files.written(tmp_path / "back", [tmp_path / "mlx"], form="peft")
    assert tiny.same(files.tensors(tmp_path / "back"), files.tensors(given))
    assert config(tmp_path / "back")["lora_alpha"] == config(given)["lora_alpha"]


def test_mlx_to_peft_and_back_is_bit_for_bit(tmp_path):
    given = files.write_mlx(tmp_path / "mlx", files.factors(1, scale=20.0))
    files.written(tmp_path / "peft", [given], form="peft")
    files.written(tmp_path / "back", [tmp_path / "peft"], form="mlx")
    name = "adapters.safetensors"
    assert tiny.same(files.tensors(tmp_path / "back", name), files.tensors(given, name))
    assert config(tmp_path / "back")["lora_parameters"] == {
        "rank": 4,
        "scale": 20.0,
        "dropout": 0.0,
        "keys": ["self_attn.q_proj", "self_attn.v_proj"],
    }


def test_peft_to_peft_keeps_the_file_and_its_settings(tmp_path):
    given = files.write_peft(
        tmp_path / "in", files.factors(1), use_rslora=True, lora_dropout=0.1, revision="x"
    )
    files.written(tmp_path / "out", [given])
    assert tiny.same(files.tensors(tmp_path / "out"), files.tensors(given))
    kept = ("r", "use_rslora", "lora_dropout", "revision", "target_modules", "task_type")
    assert {k: config(tmp_path / "out")[k] for k in kept} == {k: config(given)[k] for k in kept}
    assert config(tmp_path / "out")["lora_alpha"] == pytest.approx(config(given)["lora_alpha"], rel=1e-15)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_the_type_of_the_numbers_is_kept(tmp_path, dtype):
    made = files.factors(1, dtype=getattr(torch, dtype))
    given = files.write_peft(tmp_path / "in", made)
    files.written(tmp_path / "out", [given])
    assert tiny.same(files.tensors(tmp_path / "out"), files.tensors(given))
    files.written(tmp_path / "wide", [given], dtype="float32")
    assert next(iter(files.tensors(tmp_path / "wide").values())).dtype == torch.float32


def test_two_half_types_meet_in_float32(tmp_path):
    made = [files.factors(i, dtype=t) for i, t in enumerate((torch.bfloat16, torch.float16))]
    folders = [files.write_peft(tmp_path / f"in{i}", one) for i, one in enumerate(made)]
    files.written(tmp_path / "out", folders)
    assert next(iter(files.tensors(tmp_path / "out").values())).dtype == torch.float32
    wanted = {p: sum(0.5 * one.deltas()[p] for one in made) for p in files.PATHS}
    assert files.gap(files.read(tmp_path / "out"), wanted) < 1e-6


@pytest.mark.parametrize("family", ["llama", "bert", "gpt2"])
def test_ours_through_peft_and_back_is_the_same_function(tmp_path, family):
    model = lora(
        family, targets=() if family == "gpt2" else ("query", "value"), skip_layers=(0,), rslora=True
    )
    published(model, tmp_path / "adapters" / "mine", family)
    words = (f"output_root={tmp_path}", f"backbone.random={family}")
    tiny.stage("stage=merge", "adapters=[mine]", "format=peft", f"output={tmp_path / 'peft'}", *words)
    tiny.stage("stage=merge", f"adapters=[{tmp_path / 'peft'}]", "format=native", "name=back", *words)
    back = AdaptedModel.load(tmp_path / "adapters" / "back")
    assert back.adapters["back"].spec.skip_layers == (0,)
    model.set_active("a")
    wanted = model.eval()(**tiny.inputs(model), output_hidden_states=True).last_hidden_state
    found = back(**tiny.inputs(back), output_hidden_states=True).last_hidden_state
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def published(model, folder, family):
    """The adapter `a` of a model as an artefact without a head."""
    from fusion_pipeline import store
    from fusion_pipeline.artefacts import write_adapter

    folder.parent.mkdir(parents=True, exist_ok=True)
    values = {"kind": "tiny", "random": family}
    manifest = store.Manifest(
        kind="adapter",
        name=folder.name,
        config={"backbone": values},
        seed=0,
        backbone=model.info.describe(),
    )
    with store.publish(folder, manifest) as staging:
        write_adapter(model, "a", [], staging)


# --- mixed inputs -----------------------------------------------------------------------------------


def test_formats_mix_and_the_first_ones_is_written(tmp_path):
    made = [files.factors(1, rank=3, scale=0.7), files.factors(2, rank=5, scale=2.5)]
    peft = files.write_peft(tmp_path / "p", made[0], stem="base_model.model.")
    mlx = files.write_mlx(tmp_path / "m", made[1])
    wanted = {p: 0.5 * made[0].deltas()[p] + 0.5 * made[1].deltas()[p] for p in files.PATHS}
    for order, file in (((peft, mlx), "adapter_model.safetensors"), ((mlx, peft), "adapters.safetensors")):
        output = tmp_path / file
        files.written(output, order)
        assert (output / file).is_file()
        assert files.gap(files.read(output), wanted) < 1e-6


def test_ours_mixes_with_the_whole_model_that_peft_and_mlx_save(tmp_path):
    model = lora()
    published(model, tmp_path / "adapters" / "mine", "llama")
    tiny.stage(
        "stage=merge", "adapters=[mine]", "format=mlx", f"output={tmp_path / 'm'}", f"output_root={tmp_path}"
    )
    files.written(tmp_path / "p", [tmp_path / "m"], form="peft")
    given = files.read(tmp_path / "p")
    assert all(path.startswith("model.layers.") for path in given)
    both = files.merged([tmp_path / "adapters" / "mine", tmp_path / "p", tmp_path / "m"], same_base=True)
    assert files.gap({f"model.{path}": delta for path, delta in both.items()}, given) < 1e-6


def test_mlx_writes_both_files_and_one_rank(tmp_path):
    made = files.factors(1)
    short = {p: t[:2] for p, t in made.down.items() if p.endswith("v_proj")}
    made.down |= short
    made.up |= {p: t[:, :2].contiguous() for p, t in made.up.items() if p in short}
    given = files.write_peft(tmp_path / "in", made, rank_pattern={"v_proj": 2}, alpha_pattern={"v_proj": 4})
    record = files.written(tmp_path / "out", [given], form="mlx")
    one, other = (files.tensors(tmp_path / "out", f"{n}.safetensors") for n in ("adapters", "fused_adapter"))
    assert tiny.same(one, other)
    assert one[f"{files.PATHS[1]}.lora_a"].shape == (files.D_IN, 4)
    assert one[f"{files.PATHS[1]}.lora_b"].shape == (4, files.D_OUT)
    assert any("one rank a file" in note for note in record["notes"])
    assert files.gap(files.read(tmp_path / "out"), made.deltas()) < 1e-6


def test_scales_of_modules_are_kept_by_every_format(tmp_path):
    made = files.factors(1)
    made.scale |= {files.PATHS[0]: 5.0}
    given = files.write_peft(tmp_path / "in", made, lora_alpha=8, alpha_pattern={r"0\.self_attn\.q_proj": 20})
    for form in ("peft", "mlx"):
        files.written(tmp_path / form, [given], form=form)
        assert files.gap(files.read(tmp_path / form), made.deltas()) < 1e-6


def test_the_last_blocks_of_mlx_are_counted_from_the_top(tmp_path):
    top = [files.QUERY.format(i) for i in (2, 3)]
    one = files.write_mlx(tmp_path / "one", files.factors(1, paths=top))
    wide = files.factors(2, paths=[files.QUERY.format(i) for i in (1, 2, 3)])
    other = files.write_mlx(tmp_path / "other", wide, num_layers=3)
    files.written(tmp_path / "out", [one, other])
    assert config(tmp_path / "out")["num_layers"] == 3
    files.written(tmp_path / "peft", [one], form="peft")
    files.written(tmp_path / "unknown", [tmp_path / "peft"], form="mlx")
    assert config(tmp_path / "unknown")["num_layers"] == -1


def test_the_best_weights_of_mlx_are_read_where_named_or_alone(tmp_path):
    last, best = files.factors(1), files.factors(2)
    folder = files.write_mlx(tmp_path / "in", last)
    spare = files.write_mlx(tmp_path / "best", best, file="best_adapters.safetensors")
    (folder / "best_adapters.safetensors").write_bytes((spare / "best_adapters.safetensors").read_bytes())
    assert files.gap(files.merged([folder]), last.deltas()) < 1e-6
    assert files.gap(files.merged([folder / "best_adapters.safetensors"]), best.deltas()) < 1e-6
    assert files.gap(files.merged([spare]), best.deltas()) < 1e-6
    assert "best_adapters.safetensors lies beside it" in open_source(str(folder), folder).notes[0]


# --- different targets ------------------------------------------------------------------------------


def test_a_module_that_an_input_lacks_counts_as_zero_and_is_told(tmp_path):
    made = [files.factors(1), files.factors(2, paths=files.PATHS[:1])]
    folders = [files.write_peft(tmp_path / f"in{i}", one) for i, one in enumerate(made)]
    record = files.written(tmp_path / "out", folders, weights=[1, 3])
    wanted = {p: 0.25 * d for p, d in made[0].deltas().items()}
    wanted[files.PATHS[0]] = wanted[files.PATHS[0]] + 0.75 * made[1].deltas()[files.PATHS[0]]
    assert files.gap(files.read(tmp_path / "out"), wanted) < 1e-6
    assert record["absent"] == {"in1": files.PATHS[1:]}
    assert "no update of 3 modules, which count as zero" in record["notes"][0]


@pytest.mark.parametrize("method", ["slerp", "ties", "dare", "magnitude_prune", "svd", "cat"])
def test_every_method_takes_absent_modules(tmp_path, method):
    made = [files.factors(1), files.factors(2, paths=files.PATHS[:1])]
    folders = [files.write_peft(tmp_path / f"in{i}", one) for i, one in enumerate(made)]
    assert set(files.merged(folders, method)) == set(files.PATHS)


def test_the_record_says_how_it_was_made(tmp_path):
    folders = [files.write_peft(tmp_path / f"in{i}", files.factors(i)) for i in range(2)]
    record = files.written(
        tmp_path / "out", folders, "dare", {"density": 0.4}, weights=[1, 2], seed=7, rank=2
    )
    assert json.loads((tmp_path / "out" / "merge.json").read_text()) == record
    assert record["method"] == {"kind": "dare", "normalize": True, "density": 0.4, "combining": "linear"}
    assert (record["weights"], record["seed"], record["rank"]) == ([1, 2], 7, 2)
    assert [len(one["sha256"]) for one in record["inputs"]] == [64, 64]
    assert record["versions"]["torch"] == torch.__version__
    assert 0 < record["discarded_energy"] < 1
    assert set(record["modules"]) == set(files.PATHS)


def test_one_seed_gives_one_result(tmp_path):
    folders = [files.write_peft(tmp_path / f"in{i}", files.factors(i)) for i in range(2)]
    one, same, other = (files.merged(folders, "dare", seed=seed) for seed in (1, 1, 2))
    assert tiny.same(one, same)
    assert not tiny.same(one, other)


def test_the_list_says_what_lies_there_and_why_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    files.write_peft(tmp_path / "root" / "deep" / "peft", files.factors(1, rank=3))
    files.write_mlx(tmp_path / "root" / "mlx", files.factors(2))
    files.write_peft(tmp_path / "root" / "dora", files.factors(3), use_dora=True)
    files.write_peft(tmp_path / "outside", files.factors(4))
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    tiny.stage("stage=merge", f"list={tmp_path / 'root'}")
    said = capsys.readouterr().out
    rows = {line.split()[1]: line for line in said.splitlines() if line.startswith("│")}
    assert rows.keys() == {"deep/peft", "dora", "mlx"}
    assert rows["deep/peft"].replace("│", "").split()[1:] == "peft tiny 3 q_proj, v_proj (4) 0.0 yes".split()
    assert "no: this adapter cannot be carried over: use_dora=True" in rows["dora"]
