"""From the words of a command line to an exit code."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from fusion_pipeline.cli import flags as flag_words
from fusion_pipeline.cli import report
from fusion_pipeline.registry import add_config_dir
from fusion_pipeline.run import rank


def main(words: Sequence[str]) -> int:
    """Answers one command line; whatever goes wrong is told on stderr."""
    debug = any(word.lower() == "debug=true" for word in words)
    try:
        _answer(words, debug=debug)
    except KeyboardInterrupt:
        return report.tell_stopped()
    except BrokenPipeError:  # `--help | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return report.FAILED
    except Exception as error:  # noqa: BLE001 (the last resort: a person gets a message, not a traceback)
        return report.tell(error, debug=debug)
    return 0


def _answer(words: Sequence[str], *, debug: bool) -> None:
    flags = flag_words.parse(words)
    if flags.config_dir is not None:
        add_config_dir(flags.config_dir)
    if flags.help:
        _print(_help())
    elif flags.version:
        _print(_version())
    else:
        _start(flags, debug=debug)


def _start(flags: Namespace, *, debug: bool) -> None:
    from fusion_pipeline.cli import overrides, session

    as_typed = flags.hydra_help or flags.shell_completion
    words = flags.overrides if as_typed else overrides.rewrite(flags.overrides, multirun=flags.multirun)
    session.start(flag_words.hydra_words(flags), words, multirun=flags.multirun, debug=debug)


def _help() -> str:
    from fusion_pipeline.cli import help as help_text

    return help_text.text()


def _version() -> str:
    from fusion_pipeline import __version__

    return f"fusion-pipeline {__version__}\n"


def _print(text: str) -> None:
    if rank() == 0:
        sys.stdout.write(text)
        sys.stdout.flush()
