"""What a site table lacks is told before anything runs."""

import pytest
import tiny

from fusion_pipeline.errors import PipelineError
from fusion_pipeline.sites import load_table


def test_a_family_without_a_table_is_told_how_to_write_one():
    with pytest.raises(PipelineError, match="no site table for backbones of type 't5'") as caught:
        load_table("t5")
    assert "t5.yaml" in caught.value.hint


def test_a_placement_a_family_has_not_is_refused_with_those_it_has():
    with pytest.raises(PipelineError, match="no placement 'sideways'") as caught:
        tiny.adapted().add_adapter("one", tiny.bottleneck(placement="sideways"))
    assert "pfeiffer" in caught.value.hint


def test_a_layer_that_does_not_exist_cannot_be_skipped():
    with pytest.raises(PipelineError, match=r"layers \[2\] do not exist"):
        tiny.adapted().add_adapter("one", tiny.bottleneck(skip_layers=(1, 2)))
