"""One colour for each adapter that colour-blind people can tell apart, and a line style where colours repeat."""

from __future__ import annotations

# Okabe and Ito 2008, without black, the text's colour; yellow is darkened to be seen on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#B8A800", "#7F7F7F")
STYLES = ("solid", "dashed", "dotted", "double")
LINES = ("-", "--", ":", "-.")


def colour(index: int) -> str:
    """The colour of adapter `index`."""
    return COLOURS[index % len(COLOURS)]


def style(index: int) -> str:
    """CSS's line style for it: another one each time the colours are used up."""
    return STYLES[index // len(COLOURS) % len(STYLES)]


def line(index: int) -> str:
    """Matplotlib's line style for it."""
    return LINES[index // len(COLOURS) % len(LINES)]
