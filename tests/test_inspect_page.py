"""The page of an inspection: what data say stays text, and in a browser it does what it promises."""

import json
import re
from html.parser import HTMLParser

import pytest
import tiny
from inspected import looked

from fusion_pipeline.inspection.markdown import cell
from fusion_pipeline.inspection.page import script_json

pytest_plugins = ("loud", "browser")
EVIL = "<script>boom()</script><img src=x onerror=boom()> </SCRIPT><!-- & 'q' \"p\" |"


class Elements(HTMLParser):
    """Every element, and the text inside of each kind."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.opened, self.text, self.inside = [], {}, []

    def handle_starttag(self, tag, attrs):
        self.opened.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside:
            self.text.setdefault(self.inside[-1], []).append(data)


@pytest.fixture(scope="module")
def evil(loud):
    """A fusion on data whose texts and labels want to be markup, inspected."""
    table = [(f"{EVIL} {text}", f"<b>{label}</b>") for text, label in tiny.rows(60)]
    file = tiny.write_csv(loud.out / "evil.csv", table)
    words = ("adapters=[a,b]", "trainer.max_steps=1", "fusion=linear", "name=evil")
    loud.stage("stage=fusion", f"target={file}", *words)
    found = looked(loud, loud.out / "fusion" / "evil", "inspect.pictures=true", f"text={EVIL}")
    return found, loud.out / "inspect" / "evil"


def test_nothing_from_data_becomes_markup(evil):
    found, folder = evil
    page = Elements()
    page.feed((folder / "inspect.html").read_text())
    scripts = [attrs for tag, attrs in page.opened if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "data"}, {}]
    assert {tag for tag, _ in page.opened}.isdisjoint({"b", "script onerror"})
    assert all(
        attrs["src"].startswith("data:image/png;base64,") for tag, attrs in page.opened if tag == "img"
    )
    most = [one for several in (found["targets"]["evil"]["most"] or {}).values() for one in several]
    assert most
    assert all(EVIL in one["inputs"][0] for one in most)
    cells = "".join(page.text["td"])
    assert EVIL in cells
    assert "<b>yes</b>" in cells
    data = json.loads("".join(page.text["script"]).split("\n")[0])
    assert data["sentences"] == found["sentences"]
    assert "".join(data["sentences"][0]["tokens"]).count("<") == EVIL.count("<")


def test_nothing_is_fetched(evil):
    html = (evil[1] / "inspect.html").read_text()
    assert "default-src 'none'" in html
    without_data = re.sub(r'<script type="application/json".*?</script>', "", html, flags=re.DOTALL)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp", without_data)


def test_in_markdown_data_ends_no_cell_and_is_no_markup(evil):
    lines = (evil[1] / "inspect.md").read_text().splitlines()
    texts = [line for line in lines if "boom()" in line and line.startswith("|")]
    assert texts
    assert all("<script" not in line and len(re.findall(r"(?<!\\)\|", line)) == 5 for line in texts)
    assert cell("a|b\n*c* <d> `e`") == r"a\|b \*c\* &lt;d> \`e\`"


def test_json_inside_a_script_ends_no_element():
    value = {"text": "</script><!--\u2028&"}
    assert not set("<>&\u2028") & set(script_json(value))
    assert json.loads(script_json(value)) == value


def test_in_a_browser_tokens_pictures_and_tables_are_there_and_nothing_is_wrong(evil, browser):
    found, folder = evil
    seen = browser(folder / "inspect.html")
    assert seen.console == []
    page = Elements()
    page.feed(seen.dom)
    tokens = [attrs for tag, attrs in page.opened if tag == "span" and attrs.get("class") == "token"]
    (sentence,) = found["sentences"]
    assert len(tokens) == len(sentence["tokens"])
    assert sum(tag == "img" for tag, _ in page.opened) >= 6
    assert sum(tag == "table" for tag, _ in page.opened) >= 5
    names = [attrs["value"] for tag, attrs in page.opened if tag == "option"]
    assert names == ["mean over sites", *sentence["weights"]]
    for attrs, weights in zip(tokens, zip(*sentence["weights"].values(), strict=True), strict=True):
        means = [sum(site[n] for site in weights) / len(weights) for n in range(2)]
        assert attrs["title"] == ", ".join(f"{n} {w:.3f}" for n, w in zip("ab", means, strict=True))
        assert attrs["data-best"] == "ab"[means[1] > means[0]]


def test_the_address_says_which_site_is_shown(evil, browser):
    found, folder = evil
    seen = browser(folder / "inspect.html", "site=ffn.1")
    assert seen.console == []
    page = Elements()
    page.feed(seen.dom)
    tokens = [attrs for tag, attrs in page.opened if tag == "span" and attrs.get("class") == "token"]
    weights = found["sentences"][0]["weights"]["ffn.1"]
    shown = [[float(part.split()[1]) for part in attrs["title"].split(", ")] for attrs in tokens]
    assert all(one == pytest.approx(other, abs=6e-4) for one, other in zip(shown, weights, strict=True))
