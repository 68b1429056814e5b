"""TLS handshakes that fail tell the client why.

OpenSSL verifies a client's certificate in the handshake, and Python has no way to let one of
another authority through and refuse it in HTTP. It ends with an alert then, which asyncio drops
with the connection: the client would see a reset.
"""

from __future__ import annotations

import ssl


class Handshake(ssl.SSLObject):
    """The server's side of a connection, for `SSLContext.sslobject_class`."""

    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            # The alert waits to be sent. Whoever wants to read sends first; the next time there is
            # nothing more to say.
            self._failure = error
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "an alert is to be sent") from error
