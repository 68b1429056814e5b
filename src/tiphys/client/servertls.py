"""TLS of servers that ask their clients for certificates, and demand none.

As with upstream's (`tls.RequestClientCert`), a handshake goes on whatever certificate the client
shows: one that is not good is as if there were none, and who has nothing else is answered 401.
Python's `ssl` ends the handshake instead, so OpenSSL is asked by itself (`client/openssl`); where
that cannot be, the client is told why its handshake ends.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any, Self

from tiphys.client import certfiles, openssl

log = logging.getLogger(__name__)

# Forward secrecy and authenticated encryption only: no CBC. TLS 1.3 has its own, all of that kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Handshake(ssl.SSLObject):
    """The server's side of a connection, which sends the client an alert when its handshake fails.

    `fault`: what is wrong with the certificate that the client presented, if anything is.
    """

    fault = ""
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            self._go_on()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            # asyncio drops the alert that waits to be sent with the connection, and the client
            # would see a reset. But a read sends what is pending first; the next call raises
            # the error.
            self._failure = error
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "an alert is to be sent") from error

    def _go_on(self) -> None:
        super().do_handshake()


class OpenHandshake(Handshake):
    """A handshake that continues with any client certificate. Only a verified one is ever
    returned."""

    _is_good = False

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The client's certificate, if this handshake found it to be good."""
        return super().getpeercert(binary_form) if self._is_good else None

    def _go_on(self) -> None:
        openssl.report_verification(self._verified)
        try:
            super()._go_on()
        finally:
            openssl.report_verification(None)

    def _verified(self, fault: str) -> None:
        self._is_good = not fault
        self.fault = fault


class ServerContext(ssl.SSLContext):
    """TLS 1.2 or newer, without sessions that could be resumed."""

    _handle: openssl.Handle | None

    def __new__(cls) -> Self:
        context, handle = openssl.with_handle(
            lambda: ssl.SSLContext.__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        )
        context._handle = handle
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        # A ticket takes 0.4 ms, a sixth of a handshake, and clients of Kubernetes resume nothing:
        # client-go keeps no sessions.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        return context

    def ask(self, file: Path | None = None, text: str | None = None) -> None:
        """Asks clients for certificates of the authorities in a PEM file or text. Raises OSError
        and ssl.SSLError."""
        self.load_verify_locations(cafile=file, cadata=text)
        self.verify_mode = ssl.CERT_OPTIONAL
        self.sslobject_class = Handshake
        handle = self._handle
        if handle is None:
            log.warning("Client certificates of other authorities end handshakes, not in 401.")
            return
        # A resumed session would bring a certificate along that is not verified again.
        openssl.disable_session_cache(handle)
        openssl.disable_chain_building(handle)
        for authority in self.get_ca_certs(binary_form=True):
            openssl.add_client_authority(handle, authority)
        openssl.accept_any_certificate(handle)
        self.sslobject_class = OpenHandshake


def fault_of(transport: asyncio.BaseTransport | None) -> str:
    """What is wrong with the certificate that the client of a connection showed; "" if it showed
    a good one or none."""
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    return tls.fault if isinstance(tls, Handshake) else ""


def server_context(certificate: Path, key: Path, authority: Path) -> ServerContext:
    """Shows a certificate, which is followed as it is renewed, and asks for those of an authority;
    PEM files. Raises OSError and ssl.SSLError."""
    context = ServerContext()
    certfiles.use(context, certificate, key)
    context.ask(authority)
    return context
