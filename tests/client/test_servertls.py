"""Servers ask for certificates and are told of each whether it is good: in every version of TLS,
without sessions, and by OpenSSL's own verdict."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from tiphys.client import openssl
from tiphys.client.servertls import ServerContext
from tiphys.cluster.certificates import Authority

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Pair = tuple[Path, Path]


class Connection:
    """Both ends of a connection in memory, after as much of a handshake as there was."""

    def __init__(
        self, client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = server.wrap_bio(to_server, to_client, server_side=True)
        self.client = client.wrap_bio(to_client, to_server, session=session)
        self.first_flight = b""
        self._tries(self.client.do_handshake)
        self._tries(self.server.do_handshake)
        self.first_flight = to_client.read()
        to_client.write(self.first_flight)
        self._tries(self.client.do_handshake)
        self._tries(self.server.do_handshake)
        self._tries(self.client.do_handshake)

    @staticmethod
    def _tries(step: Callable[[], None]) -> None:
        try:
            step()
        except ssl.SSLWantReadError:
            pass

    def says(self, data: bytes) -> bytes:
        """What the server reads of what the client writes: who does is through its handshake."""
        self.client.write(data)
        return self.server.read(len(data))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "own")


@pytest.fixture
def stranger(tmp_path: Path) -> Pair:
    return Authority(tmp_path / "other").ensure("admin", "admin", ("system:masters",))


def asking(authority: Authority) -> ServerContext:
    context = ServerContext()
    context.load_cert_chain(*authority.ensure("s", "s", (), ("localhost",), server=True))
    context.ask(authority.path)
    return context


def client_of(pair: Pair | None, version: ssl.TLSVersion = VERSIONS[0]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if pair is not None:
        context.load_cert_chain(*pair)
    return context


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_that_is_not_good_is_none(
    authority: Authority, stranger: Pair, version: ssl.TLSVersion
) -> None:
    server = asking(authority)
    good = Connection(client_of(authority.ensure("jane", "jane"), version), server)
    bad = Connection(client_of(stranger, version), server)
    nobody = Connection(client_of(None, version), server)
    assert [one.says(b"hello") for one in (good, bad, nobody)] == [b"hello"] * 3
    assert good.server.getpeercert(True) and not good.server.fault
    assert bad.server.getpeercert(True) is bad.server.getpeercert() is None
    assert bad.server.fault == "unable to get local issuer certificate"
    assert nobody.server.getpeercert() is None and not nobody.server.fault


def test_the_authorities_that_are_welcome_are_named(authority: Authority, tmp_path: Path) -> None:
    another = Authority(tmp_path / "clients")
    server = ServerContext()
    server.load_cert_chain(*authority.ensure("s", "s", (), ("localhost",), server=True))
    server.ask(text=another.path.read_text() + authority.path.read_text())
    named = x509.load_pem_x509_certificate(another.path.read_bytes()).subject.public_bytes()
    # TLS 1.2 is in the open: the server's certificate has the name once, of its issuer.
    assert Connection(client_of(None), server).first_flight.count(named) == 3


def test_nobody_brings_a_certificate_along_in_a_session(
    authority: Authority, stranger: Pair
) -> None:
    server = asking(authority)
    for pair in (stranger, authority.ensure("jane", "jane")):
        client = client_of(pair)
        first = Connection(client, server)
        again = Connection(client, server, first.client.session)
        assert not again.client.session_reused
        assert again.server.getpeercert(True) == first.server.getpeercert(True)


def test_verdicts_of_two_handshakes_are_not_mixed_up(authority: Authority, stranger: Pair) -> None:
    """Nor is one left to a handshake that does not ask what came of it."""
    server = asking(authority)
    good = Connection(client_of(authority.ensure("jane", "jane")), server)
    bad = Connection(client_of(stranger), server)
    assert good.server.getpeercert(True) and not bad.server.getpeercert(True)
    server.sslobject_class = ssl.SSLObject
    with pytest.raises(ssl.SSLCertVerificationError):
        Connection(client_of(stranger), server)


def test_without_openssls_functions_a_client_is_told_why_it_is_refused(
    authority: Authority, stranger: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openssl, "_library", lambda: None)
    server = asking(authority)
    assert Connection(client_of(authority.ensure("jane", "jane")), server).server.getpeercert(True)
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        Connection(client_of(stranger), server)
