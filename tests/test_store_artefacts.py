"""Artefact folders: what is written comes back, and everything that is not one of ours is refused with a reason."""

import json
from dataclasses import replace

import pytest

from fusion_pipeline import store
from fusion_pipeline.errors import PipelineError

CONFIG = {"adapter": {"kind": "pfeiffer", "reduction_factor": 2, "skip_layers": [0, 1]}, "task": "nli"}


def manifest(name="nli", **values):
    return store.Manifest(
        kind=values.pop("kind", "adapter"),
        name=name,
        config=values.pop("config", CONFIG),
        seed=0,
        backbone={"name": "tiny", "fingerprint": "f" * 64},
        data=[{"task": "nli", "source": "embedded"}],
        **values,
    )


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "adapters" / "nli"
    with store.publish(folder, manifest()) as draft:
        (draft / "metrics.json").write_text("{}")
        (draft / "inner").mkdir()
        (draft / "inner" / "rows.jsonl").write_text("1\n2\n")
    return folder


def edited(folder, **values):
    path = folder / store.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_what_is_published_comes_back_with_a_sha256_for_every_file(saved):
    read = store.verify(saved, kind="adapter")
    assert read == replace(manifest(), files=read.files)
    assert set(read.files) == {"metrics.json", "inner/rows.jsonl"}
    assert read.versions["torch"][0].isdigit()
    assert [path.name for path in saved.parent.iterdir()] == ["nli"]


@pytest.mark.parametrize("damage", ["remove", "cut", "alter"])
def test_a_damaged_file_is_named(saved, damage):
    path = saved / "inner" / "rows.jsonl"
    if damage == "remove":
        path.unlink()
    else:
        path.write_text("1\n" if damage == "cut" else "1\n3\n")
    with pytest.raises(PipelineError, match=r"inner/rows\.jsonl"):
        store.verify(saved)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not written by"),
        (b'{"format": 1}', "not written by"),
        (b'{"product": "fusion_pipeline"}', "format"),
        (b'{"product": "fusion_pipeline", "format": 99}', "up to 1"),
        (b'{"product": "fusion_pipeline", "format": 1}', "'kind' is missing"),
    ],
)
def test_an_empty_foreign_or_newer_manifest_is_refused(saved, content, reason):
    (saved / store.MANIFEST).write_bytes(content)
    with pytest.raises(PipelineError, match=reason) as caught:
        store.verify(saved)
    assert str(saved) in caught.value.where


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "pickle"},
        {"files": []},
        {"files": {"a": 1}},
        {"config": None},
        {"parents": ["sentiment"]},
        {"seed": "0"},
        {"files": {"../../secret": "0" * 64}},
        {"files": {"/etc/passwd": "0" * 64}},
        {"files": {"": "0" * 64}},
    ],
)
def test_a_manifest_with_unexpected_content_is_refused(saved, values):
    edited(saved, **values)
    with pytest.raises(PipelineError):
        store.verify(saved)


def test_a_listed_file_that_leads_out_of_the_folder_is_refused(saved):
    outside = saved.parent / "outside"
    outside.write_text("{}")
    (saved / "metrics.json").unlink()
    (saved / "metrics.json").symlink_to(outside)
    with pytest.raises(PipelineError, match="outside its folder"):
        store.verify(saved)


def test_another_kind_of_artefact_is_refused(saved):
    with pytest.raises(PipelineError, match="an adapter, and a fusion is needed"):
        store.verify(saved, kind="fusion")


def test_a_folder_without_a_manifest_and_a_missing_folder_are_told_apart(tmp_path):
    with pytest.raises(PipelineError, match=r"no manifest\.json"):
        store.Manifest.read(tmp_path)
    with pytest.raises(PipelineError, match="no such artefact"):
        store.Manifest.read(tmp_path / "nowhere")


def test_the_keys_that_differ_between_two_configs_are_named(saved):
    read = store.verify(saved)
    assert store.same_config(read, {**CONFIG, "adapter": {**CONFIG["adapter"], "skip_layers": (0, 1)}}) == []
    other = {
        "adapter": {"kind": "pfeiffer", "reduction_factor": 4, "skip_layers": []},
        "task": "nli",
        "x": None,
    }
    assert store.same_config(read, other) == ["adapter.reduction_factor", "adapter.skip_layers", "x"]


@pytest.mark.parametrize("name", ["rte", "a+b", "rte-fusion.dropout=0.1-seed=2", "2024", "x" * 120])
def test_a_safe_name_is_a_name(name):
    assert store.check_name(name) == name == store.safe_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".hidden", "-x", "a b", "é", "a\n", "x" * 121, None, 3]
)
def test_an_unsafe_name_is_refused_with_one_that_would_do(name):
    with pytest.raises(PipelineError) as caught:
        store.check_name(name)
    assert store.check_name(store.safe_name(str(name)))
    assert caught.value.hint


def test_an_artefact_is_found_by_name_or_path_and_a_misspelt_one_gets_a_suggestion(saved, monkeypatch):
    root = saved.parent
    monkeypatch.chdir(root.parent)
    assert store.find("nli", root, where="adapters") == saved
    assert store.find("adapters/nli", "elsewhere", where="adapters").samefile(saved)
    for value in ("nil", "adapters/nil"):
        with pytest.raises(PipelineError, match="did you mean 'nli'"):
            store.find(value, root, where="adapters")
    with pytest.raises(PipelineError, match="there are none"):
        store.find("nli", "elsewhere", where="adapters")
