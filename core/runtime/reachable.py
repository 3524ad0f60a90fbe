"""Under which address others reach this server: what a telephone in the same room has to open."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from urllib.parse import urlsplit

# An address of nobody: asked for the way there, the system says which of its own it would use. Nothing is sent.
_NOBODY = ("192.0.2.1", 9)


def is_loopback(host: str | None) -> bool:
    """Whether a host's name or number means this machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def address_for_others(listens_on: str | None, port: int, seen: str = "") -> str:
    """`http://HOST:PORT`, as others must type it.

    listens_on: the server's own address; empty or 0.0.0.0 is every one it has. seen: under which address somebody has the
    page open just now: where that is not this machine's own, others can use it, too.
    """
    there = urlsplit(seen)
    if there.hostname and not is_loopback(there.hostname):
        return f"{there.scheme}://{there.netloc}"
    host = listens_on if listens_on and listens_on not in ("0.0.0.0", "::") else _own_number()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _own_number() -> str:
    """This machine's number in its network; that of the machine itself where it is in none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(_NOBODY)
        except OSError:
            return "127.0.0.1"
        number: str = way.getsockname()[0]
        return number
