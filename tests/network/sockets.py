"""Connections between network namespaces, tried from this process: a socket stays in the namespace
it was made in.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import selectors
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_NET = 0x40000000  # CLONE_NEWNET
SCTP = 132
_QUIET = 0.25  # seconds in which everything that is let through has arrived


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in a named network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        if libc.setns(there.fileno(), _NET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        try:
            yield
        finally:
            if libc.setns(home.fileno(), _NET):
                os._exit(1)  # the tests after this one would run in there


def ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def namespaces_by_address() -> dict[str, str]:
    """The network namespaces of the pods on this machine."""
    found = {}
    for path in Path("/run/netns").glob("cni-*"):
        with contextlib.suppress(AssertionError):
            words = ip("-n", path.name, "-4", "-o", "addr", "show", "dev", "eth0").split()
            found[words[words.index("inet") + 1].partition("/")[0]] = path.name
    return found


@dataclass(frozen=True)
class Try:
    """A first packet to be sent: from a namespace to an address."""

    source: str
    target: str
    protocol: str
    port: int


class Servers:
    """In each namespace: TCP and UDP servers that answer, and an ear for SCTP, which kernels need
    not speak."""

    def __init__(self, namespaces: Iterable[str], ports: Iterable[int] = (80, 81)) -> None:
        self._selector = selectors.DefaultSelector()
        self._open: list[socket.socket] = []
        self._tags = itertools.count(1)
        for namespace in namespaces:
            with inside(namespace):
                for port in ports:
                    self._listen(socket.SOCK_STREAM, port)
                    self._listen(socket.SOCK_DGRAM, port)
                ear = socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP)
                self._add(ear, (namespace, "SCTP", 0))

    def _listen(self, kind: socket.SocketKind, port: int) -> None:
        made = socket.socket(socket.AF_INET, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            made.listen(64)
        self._add(made, kind)

    def _add(self, made: socket.socket, data: object) -> None:
        made.setblocking(False)
        self._open.append(made)
        self._selector.register(made, selectors.EVENT_READ, data)

    def close(self) -> None:
        for one in self._open:
            one.close()
        self._selector.close()

    def reached(self, tries: Iterable[Try]) -> set[Try]:
        """Those of the tries that arrive (SCTP) or are answered (TCP, UDP)."""
        waiting: dict[socket.socket, Try] = {}
        tags: dict[int, Try] = {}
        for one in tries:
            with inside(one.source):
                if one.protocol == "SCTP":
                    tag = next(self._tags)  # one of its own: what comes late belongs to nobody
                    tags[tag] = one
                    _init(one, tag)
                else:
                    waiting[_begin(one)] = one
        found = self._gather(waiting, tags)
        for made in waiting:
            with contextlib.suppress(KeyError):
                self._selector.unregister(made)
            made.close()
        return found

    def _gather(self, waiting: dict[socket.socket, Try], tags: dict[int, Try]) -> set[Try]:
        for made, one in waiting.items():
            event = selectors.EVENT_WRITE if one.protocol == "TCP" else selectors.EVENT_READ
            self._selector.register(made, event, one)
        found: set[Try] = set()
        until = time.monotonic() + _QUIET
        while len(found) < len(waiting) + len(tags) and (left := until - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                if isinstance(key.data, Try):
                    if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        found.add(key.data)
                        until = time.monotonic() + _QUIET
                    self._selector.unregister(key.fileobj)
                else:
                    self._serve(key.fileobj, key.data, tags, found)
        return found

    def _serve(
        self, server: socket.socket, data: object, tags: dict[int, Try], found: set[Try]
    ) -> None:
        if data == socket.SOCK_STREAM:
            server.accept()[0].close()
            return
        if data == socket.SOCK_DGRAM:
            packet, sender = server.recvfrom(100)
            server.sendto(packet, sender)
            return
        packet = server.recv(200)
        (tag,) = struct.unpack(">I", packet[36:40])  # IP header 20, SCTP header 12, chunk header 4
        if packet[32] == 1 and tag in tags:
            found.add(tags[tag])


def _begin(one: Try) -> socket.socket:
    kind = socket.SOCK_STREAM if one.protocol == "TCP" else socket.SOCK_DGRAM
    made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    with contextlib.suppress(OSError):
        made.connect_ex((one.target, one.port))
        if kind == socket.SOCK_DGRAM:
            made.send(b"x")
    return made


def _init(one: Try, tag: int) -> None:
    """Sends the first chunk of an SCTP association."""
    chunk = struct.pack(">BBHIIHHI", 1, 0, 20, tag, 65536, 1, 1, 1)
    source = 30000 + tag % 20000
    head = struct.pack(">HHI", source, one.port, 0)
    total = _crc32c(head + b"\0\0\0\0" + chunk)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, SCTP) as made, contextlib.suppress(OSError):
        made.sendto(head + struct.pack("<I", total) + chunk, (one.target, 0))


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
