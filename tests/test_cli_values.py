"""Text, names and paths arrive as they were typed."""

import random

import pytest
from hydra import compose, initialize
from omegaconf import OmegaConf

from fusion_pipeline.cli import sources
from fusion_pipeline.cli.overrides import rewrite

NASTY = [
    "I don't like it, really (no)?",
    "",
    "???",
    "null",
    "${seed}",
    "it costs ${5 only, \\${x} or \\\\${y}",
    "a 'quoted' \"word\" and a backslash \\",
    "[not, a, list]",
    "{neither: a dict}",
    "choice(a,b)",
    "key=value",
    "two\nlines\tand a tab",
    "ünïcode — 雪 🙂",
    "\\'",
    "  blanks around  ",
]


def composed(*words, multirun=False):
    sources.register()
    with initialize(version_base="1.3", config_path=None):
        config = compose("config", overrides=rewrite(words, multirun=multirun))
    return OmegaConf.to_container(config, resolve=True)


def random_text(generator):
    return "".join(
        generator.choice("ab \\'\"${}[](),=:?~@#%&*!\n") for _ in range(generator.randrange(1, 14))
    )


@pytest.mark.parametrize("text", NASTY)
def test_a_text_is_never_read_as_syntax(text):
    config = composed(f"text={text}", f"text_pair={text}")
    assert (config["text"], config["text_pair"]) == (text, text)


def test_random_texts_arrive_unchanged():
    generator = random.Random(0)
    for _ in range(40):
        text = random_text(generator)
        assert composed(f"text={text}")["text"] == text, repr(text)


def test_a_nasty_text_survives_a_sweep_over_another_key(cli):
    text = NASTY[0] + " ${x} \\"
    runs = cli.seen("-m", f"text={text}", "seed=1,2")
    assert [run["config"]["text"] for run in runs] == [text, text]


@pytest.mark.parametrize(
    ("word", "key", "expected"),
    [
        ("task=data/a=b, c (1)/x.csv", "task", "data/a=b, c (1)/x.csv"),
        ("output=a,b.jsonl", "output", "a,b.jsonl"),
        (
            "run=outputs/fusion/rte-fusion.dropout=0.1-seed=2",
            "run",
            "outputs/fusion/rte-fusion.dropout=0.1-seed=2",
        ),
        ("input=~/it's.csv", "input", "~/it's.csv"),
        ("task=1e5", "task", "1e5"),
        ("name=007", "name", "007"),
        ("name=1_000", "name", "1_000"),
        ("task=null", "task", None),
        ("task=[a,b]", "task", ["a", "b"]),
        ("adapters=[]", "adapters", []),
        ("adapters=[a,b=c/d,e f,1e5,'g,h',it's]", "adapters", ["a", "b=c/d", "e f", "1e5", "g,h", "it's"]),
        ("adapters=[x(1].y,z]", "adapters", ["x(1].y", "z"]),
        ("task=choice(a)", "task", "choice(a)"),
        ("output_root=${oc.env:SOMEWHERE}/x", "output_root", "place/x"),
    ],
)
def test_names_paths_and_lists_of_them_need_no_quotes(word, key, expected, monkeypatch):
    monkeypatch.setenv("SOMEWHERE", "place")
    assert composed(word)[key] == expected


def test_columns_and_the_data_folder_take_any_name():
    config = composed(
        "columns.text=body (en), raw", "columns.label=2", "columns.labels=[0,N/A,a=b]", "data.root=/x,y"
    )
    assert config["columns"]["text"] == "body (en), raw"
    assert config["columns"]["label"] == "2"
    assert config["columns"]["labels"] == ["0", "N/A", "a=b"]
    assert config["data"]["root"] == "/x,y"


@pytest.mark.parametrize("name", ["a,b", "[a,b]", "x=${y}", "1e5", "{a}", "q'r"])
def test_a_path_that_exists_is_that_path_whatever_it_looks_like(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    assert composed(f"task={name}")["task"] == name
    assert composed(f"adapters=[./{name.replace(',', '-')}]")["adapters"] == [f"./{name.replace(',', '-')}"]


def test_a_dataset_folder_below_the_data_root_may_have_a_comma(tmp_path):
    (tmp_path / "a,b").mkdir()
    assert composed("task=a,b", f"data.root={tmp_path}")["task"] == "a,b"


def test_waiting_threads_give_their_core_away_unless_a_person_says_otherwise(cli):
    environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    assert cli.seen(**environment)[0]["waits"] == "ACTIVE"
    assert cli.seen()[0]["waits"] == "PASSIVE"
