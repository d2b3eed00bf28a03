"""Which layer a module lies in, and what the plot of a search shows."""

import pytest

from fusion_pipeline.merging.paths import layer_of
from fusion_pipeline.merging.search_plot import _weight


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("encoder.layer.3.attention.self.query", ("encoder.layer", 3)),
        ("h.2.attn.c_attn", ("h", 2)),
        ("ffn.0", ("ffn", 0)),
        ("3.q", ("", 3)),
        ("h2.layers.1.q", ("h2.layers", 1)),
        ("multi_modal_projector.linear_1", ("multi_modal_projector.linear_1", None)),
        ("visual.fc1", ("visual.fc1", None)),
        ("model.layers.12.mlp.fc2", ("model.layers", 12)),
    ],
)
def test_a_layers_number_is_a_word_of_its_own(path, found):
    assert layer_of(path) == found


def test_equal_weights_are_drawn_as_the_ones_that_were_merged():
    assert _weight({"weights": None, "layer_weights": {}}, 1, 3) == 1.0
    assert _weight({"weights": [0.2, 0.8], "layer_weights": {}}, 1, 2) == 0.8
    assert _weight({"weights": None, "layer_weights": {"0": [1, 0], "1": [0, 0.5]}}, 1, 2) == 0.25
