"""Messages to the kernel's netfilter, and what is made of its answers."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest

from tiphys.network import netlink
from tiphys.network.netlink import NetlinkError, attribute, nested, number, text, transact


@pytest.mark.parametrize(
    ("made", "bytes_"),
    [
        (lambda: attribute(1, b"abc"), "0700 0100 616263 00"),
        (lambda: attribute(1, b"abcd"), "0800 0100 61626364"),
        (lambda: attribute(1, b""), "0400 0100"),
        (lambda: text(3, "ab"), "0700 0300 616200 00"),
        (lambda: number(2, 258), "0800 0200 00000102"),
        (lambda: number(2, -3), "0800 0200 fffffffd"),
        (lambda: netlink.long_number(6, 258), "0c00 0600 0000000000000102"),
        (lambda: nested(4, number(1, 1), text(2, "a")), "1400 0480 0800 0100 00000001 0600 0200 6100 0000"),
        (lambda: netlink.nf_tables(3, 0x400, 2, b"body"), "18000000 030a 0104 00000000 00000000 02 00 0000 626f6479"),
        (lambda: netlink.message(0x10, 0, 0, b"", 10), "14000000 1000 0100 00000000 00000000 00 00 000a"),
    ],
)  # fmt: skip
def test_what_is_said_as_bytes(made: Any, bytes_: str) -> None:
    assert made() == bytes.fromhex(bytes_)


def answer(code: int, sequence: int, kind: int = 2) -> bytes:
    return struct.pack("=IHHIIi", 20, kind, 0, sequence, 0, code)


class Kernel:
    """A socket whose answers are given."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.sent = b""
        self.options: list[tuple[int, int, int]] = []
        self.timeout = 0

    def __call__(self, *_: int) -> Kernel:
        return self

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None: ...

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)  # type: ignore[arg-type]

    def settimeout(self, seconds: int) -> None:
        self.timeout = seconds

    def bind(self, address: tuple[int, int]) -> None:
        assert address == (0, 0)

    def send(self, batch: bytes) -> None:
        self.sent = batch

    def recv(self, size: int) -> bytes:
        said = self.answers.pop(0)
        if said is None:
            raise TimeoutError
        return said


def told(monkeypatch: pytest.MonkeyPatch, *answers: bytes | None, count: int = 2) -> Kernel:
    """A kernel that was given so many messages, and answered so."""
    kernel = Kernel(*answers)
    monkeypatch.setattr(netlink.socket, "socket", kernel)
    transact(netlink.nf_tables(3, 0, 2, b"") for _ in range(count))
    return kernel


def headers(batch: bytes) -> list[tuple[int, int, int]]:
    """Kind, flags and sequence number of each message."""
    rows = []
    while batch:
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", batch)
        rows.append((kind, flags, sequence))
        batch = batch[length:]
    return rows


LAST = 0xFFFF


def test_a_transaction_has_a_beginning_an_end_and_asks_for_one_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = told(monkeypatch, answer(0, 0), answer(0, 7, kind=3), answer(0, LAST))
    assert headers(kernel.sent) == [
        (0x10, 1, 0),
        (0xA03, 1, 0),
        (0xA03, 5, LAST),
        (0x11, 1, 0),
    ]
    assert not kernel.answers and kernel.timeout == 60
    assert kernel.options[0][2] == len(kernel.sent) + (1 << 20)
    assert kernel.options[1] == (270, 11, 1)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([answer(-2, 0)], os.strerror(2)),
        ([answer(0, 0), answer(-17, LAST)], os.strerror(17)),
        ([answer(-2, 0, kind=3), answer(-17, 0)], os.strerror(17)),
        ([None], "the kernel does not answer"),
    ],
)
def test_what_the_kernel_refuses_is_an_error(
    monkeypatch: pytest.MonkeyPatch, answers: list[bytes | None], words: str
) -> None:
    with pytest.raises(NetlinkError, match=words):
        told(monkeypatch, *answers)


def test_nothing_is_said_where_there_is_nothing_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, count=0).sent == b""
