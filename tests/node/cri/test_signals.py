"""CRI's numbers of signals, and Linux's."""

from __future__ import annotations

import pytest

from tiphys.node.cri.signals import signal_number, system_signal


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


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", 15),
        ("term", 15),
        ("15", 15),
        ("SIGQUIT", 3),
        ("SIGCLD", 17),
        ("SIGRTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-14", 50),
        ("64", 64),
        ("65", None),
        ("0", None),
        ("SIGRTMIN+31", None),
        ("SIGTERM+1", None),
        ("SIGRTMIN+", None),
        ("SIGNONE", None),
        ("9" * 5000, None),
        ("SIGRTMIN+" + "9" * 5000, None),
        ("", None),
        ("-9", None),
        ("\u0663", None),
        ("SIG\nTERM", None),
    ],
)
def test_numbers_of_linux_are_as_images_name_them(name: str, number: int | None) -> None:
    assert system_signal(name) == number
