"""Whether the Hugging Face hub can be reached, asked once and quickly."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlparse

_OFFLINE = "HF_HUB_OFFLINE"
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def stay_offline_if_unreachable() -> None:
    """Tells the hub's client to use its cache alone where the hub's name cannot be looked up.

    Otherwise it tries again for half a minute before saying the same. Call it before transformers or
    datasets are imported, which read the setting then. Behind a proxy names are looked up elsewhere.
    """
    if _OFFLINE in os.environ or any(name in os.environ for name in _PROXIES):
        return
    host = urlparse(os.environ.get("HF_ENDPOINT", "https://huggingface.co")).hostname
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        os.environ[_OFFLINE] = "1"
