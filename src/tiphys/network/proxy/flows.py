"""UDP has no end: flows to endpoints that are gone would live on in connection tracking."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator

from tiphys.network.proxy.endpoints import Endpoint
from tiphys.network.proxy.rules import Flow
from tiphys.network.proxy.table import Change

_ONE_BY_ONE = 16  # endpoints that are forgotten one by one; more of them all at once
_TIMEOUT = 10  # seconds

Selection = tuple[str, ...]  # of flows, as words of `conntrack`


def stale(changes: Iterable[Change[Flow, frozenset[Endpoint]]]) -> Iterator[Selection]:
    """The flows that lead to an endpoint that is gone, or that came before there were any."""
    for way, old, new in changes:
        before = old or frozenset()
        now = new or frozenset()
        gone = before - now
        if (now and not before) or len(gone) > _ONE_BY_ONE:
            yield _to(way)
            continue
        for endpoint in sorted(gone):
            leading = ("--reply-src", endpoint.address, "--reply-port-src", str(endpoint.port))
            yield (*_to(way), *leading)


def _to(way: Flow) -> Selection:
    address = ("--orig-dst", way.address) if way.address else ()
    return ("-p", "udp", *address, "--orig-port-dst", str(way.port))


def forget(version: int, selections: Iterable[Selection]) -> None:
    """Blocks. Without the program `conntrack` it does nothing."""
    for selection in selections:
        with contextlib.suppress(FileNotFoundError, subprocess.TimeoutExpired):
            command = ["conntrack", "-D", "-f", f"ipv{version}", *selection]
            subprocess.run(command, capture_output=True, timeout=_TIMEOUT)
