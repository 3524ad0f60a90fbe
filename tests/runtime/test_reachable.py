"""Under which address others come: never one that means their own machine, where there is another."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest

from core.runtime.reachable import address_for_others, is_loopback


@pytest.mark.parametrize(
    "host, itself",
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("", False),
        (None, False),
        ("10.0.0.1", False),
    ],
)
def test_what_means_this_machine_itself(host: str | None, itself: bool) -> None:
    assert is_loopback(host) is itself


@pytest.mark.parametrize(
    "listens_on, seen, said",
    [
        ("127.0.0.1", "", "http://127.0.0.1:8501"),
        ("127.0.0.1", "http://127.0.0.1:8501/Teacher", "http://127.0.0.1:8501"),
        ("192.168.1.20", "", "http://192.168.1.20:8501"),
        ("fd00::20", "", "http://[fd00::20]:8501"),
        ("127.0.0.1", "https://lesson.example/Teacher", "https://lesson.example"),
        ("0.0.0.0", "http://192.168.1.20:9000/Teacher", "http://192.168.1.20:9000"),
    ],
)
def test_the_address_is_one_that_works_for_somebody_else(listens_on: str, seen: str, said: str) -> None:
    assert address_for_others(listens_on, 8501, seen) == said


@pytest.mark.parametrize("everywhere", [None, "", "0.0.0.0", "::"])
def test_a_server_that_listens_everywhere_gives_a_number_of_its_own(everywhere: str | None) -> None:
    host = urlsplit(address_for_others(everywhere, 8501)).hostname
    assert host is not None and not ip_address(host).is_unspecified
