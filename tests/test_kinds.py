"""What every adapter kind promises: the folder of configs is the list, so that a new one is tested unasked."""

from copy import deepcopy

import pytest
import tiny
import torch
from kinds import EACH, KINDS, LABELS, add_kind, gradients, outputs, part, spec_of, with_kind

from fusion_pipeline import AdaptedModel, registry, store
from fusion_pipeline.adapters.building import count_parameters
from fusion_pipeline.adapters.module_bank import alone, bank_of
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec
from fusion_pipeline.mixing import Batch
from fusion_pipeline.routing import is_prompt

DRAWN = ("pfeiffer", "houlsby", "prompt")  # these do not start at the bare backbone
FUSIBLE = [(family, kind) for family, kind in EACH if kind != "prompt"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_can_be_copied_after_a_step_of_training(kind):
    model = with_kind("bert", kind)
    batch = tiny.inputs(model)
    model.train()
    model(**batch, labels=torch.zeros(len(tiny.TEXTS), dtype=torch.long)).loss.backward()
    model.eval()
    with torch.no_grad():
        assert torch.equal(deepcopy(model)(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_training_starts_at_the_bare_backbone_bit_by_bit_unless_the_start_is_drawn(family, kind):
    model = with_kind(family, kind, std=None)
    started = outputs(model).last_hidden_state
    model.set_active(None)
    assert torch.equal(started, outputs(model).last_hidden_state) == (kind not in DRAWN)


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_it_matters_at_every_layer_and_only_while_it_is_active(family, kind):
    model = with_kind(family, kind)
    adapted = outputs(model).hidden_states
    model.set_active(None)
    bare = outputs(model).hidden_states
    assert not any(torch.allclose(a, b) for a, b in zip(adapted[1:], bare[1:], strict=True))
    assert adapted[-1].shape == bare[-1].shape
    model.set_active("one")
    assert all(torch.equal(a, b) for a, b in zip(adapted, outputs(model).hidden_states, strict=True))


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_gradients_reach_exactly_what_trains(family, kind):
    model = with_kind(family, kind)
    add_kind(model, kind, "idle")
    model.train_only(adapters=["one"], heads=["task"])
    model.train()
    trained = set(model.trained_state())
    assert {name.split(".")[0] for name in trained} == {"adapters", "heads"}
    moving = {name for name, grad in gradients(model).items() if grad.any()}
    assert moving == trained


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_the_formula_counts_the_parameters(family, kind):
    model, spec = with_kind(family, kind), spec_of(kind)
    widths = model._routing.widths(spec.rows(model.table), spec.skip_layers)
    assert count_parameters(spec, widths) == sum(p.numel() for p in part(model).parameters())
    assert sum(v.numel() for v in part(model).state_dict().values()) == count_parameters(spec, widths)


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_saved_and_loaded_it_is_the_same(tmp_path, family, kind):
    model, fresh = with_kind(family, kind), with_kind(family, kind, std=None)
    store.save_tensors(tmp_path / "weights", part(model).state_dict())
    wanted = outputs(model).last_hidden_state
    assert not torch.equal(wanted, outputs(fresh).last_hidden_state)
    store.load_strict(part(fresh), store.load_tensors(tmp_path / "weights"), where="weights")
    assert torch.equal(wanted, outputs(fresh).last_hidden_state)


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_gradient_checkpointing_changes_no_gradient(family, kind):
    model = with_kind(family, kind)
    model.train_only(adapters=["one"], heads=["task"])
    model.train()
    plain = gradients(model)
    model.activation_checkpointing_enable()
    assert tiny.same(plain, gradients(model))


@pytest.mark.parametrize(("family", "kind"), EACH)
def test_padding_changes_nothing_for_real_tokens(family, kind):
    model = with_kind(family, kind)
    short, mask = outputs(model), tiny.inputs(model)["attention_mask"].bool()
    with torch.no_grad():
        padded = model(**tiny.inputs(model, pad_to=90), output_hidden_states=True)
    torch.testing.assert_close(padded.logits, short.logits, rtol=0, atol=1e-4)
    cut = padded.last_hidden_state[:, : mask.shape[1]]
    torch.testing.assert_close(cut[mask], short.last_hidden_state[mask], rtol=0, atol=1e-4)


@pytest.mark.parametrize(("family", "kind"), FUSIBLE)
def test_skipped_layers_have_no_adapter(family, kind):
    model = with_kind(family, kind, skip_layers=(0,))
    adapted = outputs(model).hidden_states
    model.set_active(None)
    bare = outputs(model).hidden_states
    assert torch.equal(adapted[1], bare[1])
    assert not torch.allclose(adapted[2], bare[2])


# --- several of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["pfeiffer", None])
@pytest.mark.parametrize(("family", "kind"), FUSIBLE)
def test_a_bank_is_a_plain_loop_over_its_adapters(family, kind, other):
    model = with_kind(family, kind).double()
    add_kind(model, other or kind, "two", seed=1)
    model.double()
    first, second = part(model), part(model, "two")
    if first.rows != second.rows:
        pytest.skip("they share no site")
    for key, module in first.items():
        both, batch = [module, second.at(key)], Batch()
        d_in, d_out = model._routing.widths([key.split(".")[0]])[key]
        draw = torch.Generator().manual_seed(5)
        x, query, weights = (
            torch.randn(2, 3, n, generator=draw, dtype=torch.float64) for n in (d_in, d_out, 2)
        )
        each = torch.stack([alone(one, x, batch) for one in both], dim=-2)
        bank = bank_of(["one", "two"], both, batch)
        hidden = bank.hidden(x)
        torch.testing.assert_close(bank.deltas(hidden), each)
        torch.testing.assert_close(bank.scores(query, hidden), (each * query.unsqueeze(-2)).sum(-1))
        torch.testing.assert_close(bank.combine(weights, hidden), (each * weights.unsqueeze(-1)).sum(-2))


@pytest.mark.parametrize("other", KINDS)
@pytest.mark.parametrize(("family", "kind"), FUSIBLE)
def test_it_is_fused_with_whatever_shares_its_sites_and_with_nothing_else(family, kind, other):
    # Small enough that no softmax saturates.
    model = with_kind(family, kind, std=0.1)
    add_kind(model, other, "two", std=0.1, seed=1)
    if part(model).rows != part(model, "two").rows:
        with pytest.raises(PipelineError, match=r"do not share their sites|no delta to fuse"):
            model.add_fusion("mix", AdapterFusionSpec(), ["one", "two"])
        return
    model.add_fusion("mix", AdapterFusionSpec(init_std=0.3), ["one", "two"])
    model.set_active(["one", "two"], fusion="mix")
    model.train_only(fusion="mix", heads=["task"])
    fused = outputs(model, output_fusion_weights=True)
    assert set(fused.fusion_weights) == {key for key, _ in part(model).items()}
    assert not any(torch.allclose(w[..., 0], w[..., 1]) for w in fused.fusion_weights.values())
    model.train()
    assert {name for name, grad in gradients(model).items() if grad.any()} == set(model.trained_state())


@pytest.mark.parametrize(("family", "kind"), FUSIBLE)
def test_a_prompt_stacks_with_it_and_with_a_fusion_of_it(family, kind):
    model = with_kind(family, kind)
    add_kind(model, "prompt", "words")
    alone_, stacked = outputs(model), None
    model.set_active(["words", "one"])
    stacked = outputs(model)
    assert stacked.last_hidden_state.shape == alone_.last_hidden_state.shape
    assert not torch.allclose(stacked.logits, alone_.logits)
    model.add_fusion("mix", AdapterFusionSpec(), ["one"])
    model.set_active(["words", "one"], fusion="mix")
    weights = outputs(model, output_fusion_weights=True).fusion_weights
    tokens = tiny.inputs(model)["input_ids"].shape[1]
    assert {tuple(value.shape) for value in weights.values()} == {(3, tokens, 1)}
    listened = model.predict(tiny.TEXTS, fusion_weights=True)[0]
    assert listened.adapters == ("one",)
    assert {len(value) for value in listened.fusion_weights.values()} == {len(listened.tokens)}
    assert is_prompt(part(model, "words"))
    assert model.free_layers() == 0


# --- through the command line -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_stage_trains_saves_and_serves_it(tmp_path, kind):
    data = tiny.write_csv(tmp_path / "own.csv", tiny.rows(40))
    tiny.stage(
        "stage=adapters",
        f"task={data}",
        f"adapter={kind}",
        f"output_root={tmp_path}",
        "trainer.max_steps=3",
        *tiny.columns(),
    )
    folder = tmp_path / "adapters" / "own"
    model = AdaptedModel.load(folder)
    said = tiny.said(folder)
    for row, found in zip(said, tiny.probabilities(model, said), strict=True):
        assert found == pytest.approx(row["probabilities"], abs=1e-4)
    assert store.Manifest.read(folder).config["adapter"]["kind"] == kind
    assert model(**tiny.inputs(model), labels=LABELS).loss.isfinite()


def train(tmp_path, name, *words):
    data = tiny.write_csv(tmp_path / "own.csv", tiny.rows(40))
    tiny.stage(*words, f"output_root={tmp_path}", f"name={name}", "trainer.max_steps=3", *tiny.columns())
    return data


def test_the_stages_fuse_evaluate_and_serve_different_kinds(tmp_path):
    data = tiny.write_csv(tmp_path / "own.csv", tiny.rows(40))
    kinds = ("pfeiffer", "moa", "compacter")
    for kind in kinds:
        train(tmp_path, kind, "stage=adapters", f"task={data}", f"adapter={kind}")
    train(tmp_path, "mix", "stage=fusion", f"adapters=[{','.join(kinds)}]", f"target={data}")
    folder = tmp_path / "fusion" / "mix"
    model = AdaptedModel.load(folder)
    said = tiny.said(folder)
    for row, found in zip(said, tiny.probabilities(model, said), strict=True):
        assert found == pytest.approx(row["probabilities"], abs=1e-4)
    tiny.stage("stage=evaluate", f"run={folder}", f"output_root={tmp_path}")


@pytest.mark.parametrize("fusion", registry.options("fusion"))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "prompt"])
def test_every_fusion_runs_and_trains_over_it(kind, fusion):
    model = with_kind("bert", kind, std=0.1)
    add_kind(model, kind, "two", std=0.1, seed=1)
    model.add_fusion("mix", registry.build("fusion", fusion), ["one", "two"])
    model.set_active(["one", "two"], fusion="mix")
    model.train_only(fusion="mix", heads=["task"])
    assert outputs(model).logits.isfinite().all()
    model.train()
    assert set(gradients(model)) == set(model.trained_state())
