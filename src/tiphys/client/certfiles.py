"""Certificates that are renewed while they are in use: a TLS context takes the new files soon after
they were written, and what is connected stays connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import weakref
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two checks of a certificate's file: two calls of stat

_Stamp = tuple[int, int, int, int]


def use(
    context: ssl.SSLContext,
    certificate: Path,
    key: Path,
    renewed: Callable[[], None] = lambda: None,
) -> None:
    """Loads a certificate and its key, and loads them again when they have changed, for as long as
    the context is in use and this thread's event loop runs. Raises OSError and ssl.SSLError.

    renewed: called after each such load
    """
    stamp = _stamp(certificate, key)
    context.load_cert_chain(certificate, key)
    with contextlib.suppress(RuntimeError):  # no loop: a command that ends soon
        loop = asyncio.get_running_loop()
        follower = _Follower(context, certificate, key, stamp, renewed)
        loop.call_later(EVERY, follower.look_again, loop)


def _stamp(certificate: Path, key: Path) -> _Stamp | None:
    """What changes when one of the files does; None while one is missing."""
    try:
        first = os.stat(certificate)
        second = os.stat(key)
    except OSError:
        return None
    return first.st_mtime_ns, first.st_ino, second.st_mtime_ns, second.st_ino


class _Follower:
    """Keeps one context as its files are. It does not keep the context alive."""

    def __init__(
        self,
        context: ssl.SSLContext,
        certificate: Path,
        key: Path,
        stamp: _Stamp | None,
        renewed: Callable[[], None],
    ) -> None:
        self._context = weakref.ref(context)
        self._certificate = certificate
        self._key = key
        self._loaded = stamp
        self._renewed = renewed

    def look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        context = self._context()
        if context is None:
            return
        self._look(context)
        loop.call_later(EVERY, self.look_again, loop)

    def _look(self, context: ssl.SSLContext) -> None:
        stamp = _stamp(self._certificate, self._key)
        if stamp is None or stamp == self._loaded:
            return
        try:
            # A failure would leave the context with half of a pair: a scratch context loads it
            # first. The two files are replaced one after the other, so this may be too early.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self._certificate, self._key)
            context.load_cert_chain(self._certificate, self._key)
        except OSError as error:
            log.warning("%s is not loaded yet: %s", self._certificate, error)
            return
        self._loaded = stamp
        log.info("Loaded the renewed certificate %s", self._certificate)
        self._renewed()
