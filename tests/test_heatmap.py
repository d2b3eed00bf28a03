"""The picture of fusion weights."""

import pytest

from fusion_pipeline.reporting.heatmap import draw_weights

SITES = {f"ffn.{layer}": {"weights": {"a": 0.25, "b": 0.75}} for layer in range(2)}


@pytest.mark.parametrize("panels", [1, 3, 4, 7])
def test_every_fusion_gets_a_panel_with_its_weights(panels):
    figure = draw_weights({f"target {number}": SITES for number in range(panels)})

    drawn = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in drawn] == [f"target {number}" for number in range(panels)]
    for axis in drawn:
        assert axis.images[0].get_array().tolist() == [[0.25, 0.75]] * 2
        assert [text.get_text() for text in axis.texts] == ["0.25", "0.75"] * 2
    bare = [axis for axis in figure.axes if not axis.images and axis.axison and not axis.get_label()]
    assert not bare
