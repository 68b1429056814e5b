"""CRI's numbers of signals."""

from __future__ import annotations

import pytest

from tiphys.node.cri.signals import signal_number


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("", 0),
        ("SIGABRT", 1),
        ("SIGTERM", 23),
        ("SIGUSR1", 29),
        ("SIGRTMIN", 35),
        ("SIGRTMIN+1", 36),
        ("SIGRTMIN+15", 50),
        ("SIGRTMAX-14", 51),
        ("SIGRTMAX-1", 64),
        ("SIGRTMAX", 65),
        ("SIGNONE", 0),
    ],
)
def test_numbers_are_those_of_cri(name: str, number: int) -> None:
    assert signal_number(name) == number
