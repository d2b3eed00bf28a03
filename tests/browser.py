"""Pages opened in headless Chromium, as a person would open them from disk: without a network."""

import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--no-first-run")
# Every name lookup fails: what a page would fetch is an error on its console.
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0")
_CONSOLE = re.compile(r':CONSOLE:\d+\] "(?P<text>.*)", source:')


@dataclass(frozen=True)
class Page:
    """What became of a page: its elements once its scripts have run, and everything said on its console."""

    dom: str
    console: list[str]


@pytest.fixture
def browser(tmp_path):
    """`browser(path, fragment="")` → `Page`; skipped where there is no Chromium."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no headless browser here (none of {', '.join(NAMES)})")

    def opened(path, fragment=""):
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        address = path.resolve().as_uri() + (f"#{fragment}" if fragment else "")
        command = [program, *OPTIONS, *OFFLINE, profile, "--virtual-time-budget=2000", "--dump-dom", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr[-2000:]
        return Page(done.stdout, [match["text"] for match in _CONSOLE.finditer(done.stderr)])

    return opened
