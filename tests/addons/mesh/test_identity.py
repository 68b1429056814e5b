"""Certificates of the mesh: one identity each, and nothing else that could pass for a name."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509

from tiphys.addons.authority import Authority, AuthorityError
from tiphys.addons.mesh.identity import spiffe

NOW = 1_800_000_000.0


def read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def names(certificate: x509.Certificate) -> list[object]:
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert extension.critical or certificate.subject.rdns
    return [one.value for one in extension.value]


def test_a_certificate_says_one_identity_and_no_name() -> None:
    authority, _ = Authority.new("cluster.local", NOW)
    identity = spiffe("cluster.local", "shop", "asker")
    pair = authority.workload(identity, NOW, 60)
    certificate = read(pair.certificate)
    assert names(certificate) == ["spiffe://cluster.local/ns/shop/sa/asker"]
    assert not certificate.subject.rdns
    certificate.verify_directly_issued_by(read(authority.root))
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime == datetime.timedelta(seconds=120), "a minute back, for clocks that are behind"
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca


def test_the_servers_certificate_is_nobodys_identity() -> None:
    authority, _ = Authority.new("cluster.local", NOW)
    shown = names(read(authority.server("10.0.0.1", NOW, 60).certificate))
    assert [str(one) for one in shown] == ["10.0.0.1"]


def test_an_authority_is_kept_and_signs_as_before() -> None:
    first, data = Authority.new("cluster.local", NOW)
    second = Authority(data["tls.crt"], data["tls.key"])
    assert second.root == first.root
    issued = read(second.workload("spiffe://cluster.local/ns/a/sa/b", NOW, 60).certificate)
    issued.verify_directly_issued_by(read(first.root))


def test_what_is_no_authority_is_told() -> None:
    _, one = Authority.new("cluster.local", NOW)
    _, other = Authority.new("cluster.local", NOW)
    with pytest.raises(AuthorityError, match="not that of its certificate"):
        Authority(one["tls.crt"], other["tls.key"])
    with pytest.raises(AuthorityError, match="no certificate"):
        Authority(b"", b"")
