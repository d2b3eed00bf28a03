"""Installed yaml → spec: every key and value is checked, and its config key named."""

from dataclasses import dataclass
from typing import Literal

import pytest

from fusion_pipeline import registry
from fusion_pipeline.errors import PipelineError
from fusion_pipeline.registry import ConfigError
from fusion_pipeline.run import Run, as_list


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A spec as components have them."""

    width: int | None
    rate: float = 0.5
    mode: Literal["first", "mean"] = "first"
    layers: tuple[int, ...] = ()
    label: str | None = None
    on: bool = True

    def __post_init__(self):
        if self.width is not None and self.width < 1:
            raise PipelineError(f"width={self.width} is out of range", where="width", hint="1 or more")
        if self.rate >= 1:
            raise ValueError("rate must be below 1")


def section(**values):
    return {"_target_": f"{__name__}.Spec", "kind": "thing", "width": 4, **values}


def test_a_spec_gets_plain_values_in_the_annotated_types():
    spec = registry.build_from(section(rate=0, layers=[1, 2], width=None, label=2), group="adapter")
    assert spec == Spec(width=None, rate=0.0, layers=(1, 2), label="2")
    assert isinstance(spec.rate, float)


@pytest.mark.parametrize(
    ("values", "where", "what"),
    [
        ({"widht": 3}, "adapter.widht", "no option 'widht'"),
        ({"width": "wide"}, "adapter.width", "'wide' is not a whole number or null"),
        ({"width": True}, "adapter.width", "whole number"),
        ({"rate": "0.1"}, "adapter.rate", "a number"),
        ({"on": 1}, "adapter.on", "true or false"),
        ({"mode": "last"}, "adapter.mode", "one of first, mean"),
        ({"layers": 3}, "adapter.layers", "a list"),
        ({"layers": [1, "x"]}, "adapter.layers", "a list"),
        ({"width": 0}, "adapter.width", "out of range"),
        ({"rate": 2}, "adapter.rate", "rate must be below 1"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_its_config_key(values, where, what):
    with pytest.raises(ConfigError, match=what) as caught:
        registry.build_from(section(**values), group="adapter")
    assert caught.value.where == where


def test_a_missing_value_is_told():
    values = section()
    del values["width"]
    with pytest.raises(ConfigError, match="must be given"):
        registry.build_from(values, group="adapter")


@pytest.mark.parametrize("target", ["nowhere.Spec", "fusion_pipeline.errors.Nothing", "Spec", "math.pi"])
def test_a_target_that_cannot_be_imported_is_told(target):
    with pytest.raises(ConfigError):
        registry.build_from({"_target_": target}, group="adapter")


def test_a_target_never_comes_with_the_values():
    with pytest.raises(ConfigError, match="installed configs only"):
        registry.build("adapter", "pfeiffer", _target_="os.system")
    with pytest.raises(ConfigError, match="did you mean 'pfeiffer'"):
        registry.build("adapter", "pfeifer")
    with pytest.raises(ConfigError, match="no config group"):
        registry.build("../adapter", "pfeiffer")
    with pytest.raises(ConfigError, match="no adapter"):
        registry.build("adapter", "../fusion/adapterfusion")


def test_every_component_that_a_manifest_names_carries_its_own_kind():
    for group in ("adapter", "fusion", "backbone"):
        for name in registry.options(group):
            content = registry.load_yaml(registry.config_file(group, name), resolve=False)
            assert content.get("kind") == name, f"{group}/{name}.yaml"


def test_names_are_one_or_several_and_never_empty():
    assert as_list(None) == []
    assert as_list("a") == ["a"]
    assert as_list(["a", 2024]) == ["a", "2024"]
    for wrong in ("", [""], [["a"]], {"a": 1}, [None], True):
        with pytest.raises(ConfigError):
            as_list(wrong, where="task")


def test_a_run_names_its_artefact_safely(tmp_path):
    config = {"stage": {"name": "fusion"}, "output_root": str(tmp_path), "name": None, "trainer": {"a": [1]}}
    run = Run.from_config(config, name_suffix="-seed=1")
    assert run.artefact_name("a+b") == "a+b-seed=1"
    with pytest.raises(PipelineError, match="cannot be the name"):
        run.artefact_name("../x")
    run.section("trainer")["a"].append(2)
    assert run.section("trainer") == {"a": [1]}
    with pytest.raises(ConfigError, match="stage=fusion needs target="):
        run.required("target", example="target=rte")
