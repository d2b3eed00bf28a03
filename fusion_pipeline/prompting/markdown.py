"""A comparison of prompts as Markdown."""

from __future__ import annotations

import re

from fusion_pipeline.prompting.results import Answers, Comparison

OVERLAP = (
    "Mean over prompts of ROUGE-L F1 over tokens, 2·LCS / (n + m), LCS the longest common subsequence: "
    "1 is the same text."
)


def markdown(found: Comparison) -> str:
    """The report: settings, a line a contender, overlaps, then every prompt with all answers."""
    lines = ["# Prompts, side by side", "", _settings(found), ""]
    lines += _table(["contender", *HEADER], [[a.contender.name, *measures(a)] for a in found.answers])
    if len(found.answers) > 1:
        rows = [[n, *(f"{v:.3f}" for v in row)] for n, row in zip(found.names, found.overlaps, strict=True)]
        lines += ["", "## Overlap", "", OVERLAP, "", *_table(["", *found.names], rows)]
    for index, prompt in enumerate(found.prompts.prompts):
        lines += ["", f"## {_plain(prompt.name)}", "", *fenced(prompt.text)]
        for answers in found.answers:
            lines += ["", f"**{_plain(answers.contender.name)}**", "", *fenced(answers.said[index].text)]
    return "\n".join([*lines, "", "Made with:", "", *fenced(found.command), ""])


HEADER = ("perplexity", "tokens written", "s")


def measures(answers: Answers) -> tuple[str, str, str]:
    """A contender's numbers as text, in the order of `HEADER`."""
    score = "" if answers.perplexity is None else f"{answers.perplexity.perplexity:.4g}"
    return score, f"{sum(len(said.tokens) for said in answers.said):,}", f"{answers.seconds:.1f}"


def settings(found: Comparison) -> str:
    """How the answers came about, in one line."""
    spec = found.spec
    how = "greedy" if spec.temperature == 0 else f"temperature {spec.temperature:g}, top_p {spec.top_p:g}"
    scored = next((a.perplexity.tokens for a in found.answers if a.perplexity is not None), None)
    reference = "" if scored is None else f"; perplexity over {scored:,} tokens of the reference text"
    chat = ", as user turns of the chat template" if spec.chat else ""
    return (
        f"Base {found.base}; {len(found.prompts.prompts)} prompts of {found.prompts.source}{chat}; {how}, "
        f"seed {found.seed}, at most {spec.max_new_tokens} tokens{reference}."
    )


def fenced(text: str) -> list[str]:
    """Any text as a block that shows it as it is, whatever backticks it holds."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, *text.split("\n"), fence]


def _settings(found: Comparison) -> str:
    return _plain(settings(found))


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    cells = [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in [header, *rows]]
    return [cells[0], "|" + "---|" * len(header), *cells[1:]]


def _plain(text: str) -> str:
    """A text in a line of Markdown that starts no markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))
