"""Predictions: labels, probabilities, and what each token listened to."""

import numpy as np
import pytest
import tiny
import torch
from fused_model import NAMES, fused

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.fusion import AdapterFusionSpec


def test_predictions_have_labels_probabilities_and_weights_for_every_token():
    model = fused()
    texts = ["x" * (7 * n % 23 + 1) for n in range(20)]
    found = model.predict(texts, fusion_weights=True, batch_size=3)
    wanted = torch.softmax(model(**tiny.inputs(model, texts)).logits, -1)
    for text, one, probabilities in zip(texts, found, wanted, strict=True):
        assert list(one.probabilities) == list(tiny.LABELS)
        assert sum(one.probabilities.values()) == pytest.approx(1)
        assert list(one.probabilities.values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
        assert one.label == max(one.probabilities, key=one.probabilities.get)
        assert one.tokens == ("[CLS]", *text, "[SEP]")
        assert one.adapters == NAMES
        assert set(one.fusion_weights) == {"ffn.0", "ffn.1"}
        for weights in one.fusion_weights.values():
            assert weights.shape == (len(one.tokens), 3)
            np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    assert len({one.label for one in found}) > 1 or len({p.probabilities["no"] for p in found}) > 1


def test_predicting_changes_no_mode_and_no_gradient():
    model = fused()
    model.train_only(fusion="mix", heads=["task"])
    model.train()
    once, again = model.predict(["a text"]), model.predict(["a text"])
    assert once == again
    assert model.training
    assert model.backbone.training
    assert all(p.grad is None for p in model.parameters())


def test_pairs_are_read_as_pairs():
    model = fused()
    pair, other, joined = model.predict(
        [("one", "two"), ("two", "one"), ("one two", "")], fusion_weights=True
    )
    assert pair.tokens == ("[CLS]", *"one", "[SEP]", *"two", "[SEP]")
    assert pair.probabilities != other.probabilities != joined.probabilities


def test_nothing_to_predict_is_no_error_and_nonsense_is_one():
    model = fused()
    assert model.predict([]) == []
    for wrong in ("one text", [("a", "b"), "c"], [None], [("a", "b", "c")]):
        with pytest.raises(PipelineError):
            model.predict(wrong)
    headless = tiny.adapted()
    with pytest.raises(PipelineError, match="no head is active"):
        headless.predict(["a text"])


def test_a_prediction_in_inference_mode_gives_the_same():
    with torch.inference_mode():
        inside = fused().predict(tiny.TEXTS)
    assert inside == fused().predict(tiny.TEXTS)


@pytest.mark.minilm
def test_the_real_backbone_carries_a_fusion():
    from fusion_pipeline import AdaptedModel
    from fusion_pipeline.registry import build

    model = AdaptedModel.from_backbone(build("backbone", "minilm"))
    assert model.info.pooling == "mean"
    hidden = model.config.hidden_size
    assert hidden == 384
    for name in NAMES:
        model.add_adapter(name, tiny.bottleneck(init="kaiming", width=8))
    model.add_fusion("mix", AdapterFusionSpec(), NAMES)
    tiny.add_head(model)
    tokens = model.info.tokenizer(["a cat", "a rocket"], return_tensors="pt")
    model.eval()
    with torch.no_grad():
        bare = model.backbone(**tokens).last_hidden_state
        model.set_active(NAMES, fusion="mix", head="task")
        zero = model.backbone(**tokens).last_hidden_state
        tiny.shake(model.adapters, 0.1)
        moved = model.backbone(**tokens).last_hidden_state
    assert torch.equal(zero, bare)
    assert not torch.allclose(moved, bare)
