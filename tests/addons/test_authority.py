"""An authority of an add-on: what its certificates are good for, and where it is kept."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.addons.authority import Authority, AuthorityError, kept_authority, show
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.testing import LocalCluster

NOW = 1_800_000_000.0
SIGNS, SHOWS = ("key_cert_sign", "crl_sign"), ("digital_signature",)
USAGES = (
    *SIGNS,
    *SHOWS,
    "key_encipherment",
    "content_commitment",
    "data_encipherment",
    "key_agreement",
)


def authority(domain: str = "cluster.local") -> Authority:
    return Authority.new(domain, NOW)[0]


def read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def usages(certificate: x509.Certificate) -> set[str]:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    return {name for name in USAGES if getattr(usage.value, name)}


def test_a_root_signs_leaves_and_nothing_else() -> None:
    root = read(authority().root)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usages(root) == set(SIGNS)
    [uri] = root.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert uri.value == "spiffe://cluster.local"
    lifetime = root.not_valid_after_utc - root.not_valid_before_utc
    assert lifetime == datetime.timedelta(days=3650, seconds=60)


def test_a_long_domain_is_cut_where_the_standard_ends() -> None:
    """X.520: an organization name has at most 64 characters."""
    root = read(authority("d" * 200).root)
    [organization] = root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert organization.value == "d" * 64


def test_a_leaf_shows_and_does_not_sign() -> None:
    made = authority()
    both = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    for pair, purposes in (
        (made.workload("spiffe://cluster.local/ns/a/sa/b", NOW, 60), both),
        (made.server("10.0.0.1", NOW, 60), {ExtendedKeyUsageOID.SERVER_AUTH}),
    ):
        leaf = read(pair.certificate)
        assert usages(leaf) == set(SHOWS)
        assert set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == purposes
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.critical and not constraints.value.ca
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.critical, "the subject is empty (RFC 5280, 4.2.1.6)"
        assert pair.expires == NOW + 60 == leaf.not_valid_after_utc.timestamp()


def test_a_server_has_all_of_its_names() -> None:
    leaf = read(authority().server("10.0.0.1", NOW, 60, "web.shop.svc", "fd00::1").certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web.shop.svc"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.1", "fd00::1"]


def test_a_key_of_another_kind_is_refused() -> None:
    """Sidecars and servers are given signatures of an elliptic curve: RSA's are slow."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(AuthorityError, match="not of an elliptic curve"):
        Authority(authority().root.encode(), pem)


# --- where it is kept ---


async def secret(server: LocalCluster, **data: bytes) -> None:
    meta = ObjectMeta(name="tiphys-addons")
    await server.client.create(core_v1.Namespace(metadata=meta))
    named = {name.replace("_", "."): value for name, value in data.items()}
    made = core_v1.Secret(metadata=ObjectMeta(name="ca", namespace="tiphys-addons"), data=named)
    await server.client.create(made)


async def kept(server: LocalCluster) -> Authority:
    return await kept_authority(server.client, "ca", "cluster.local", NOW)


async def test_an_empty_secret_is_filled_once(server: LocalCluster) -> None:
    await secret(server)
    first = await kept(server)
    assert (await kept(server)).root == first.root
    stored = await server.client.get(core_v1.Secret, "ca", "tiphys-addons")
    assert stored.data["tls.crt"].decode() == first.root
    assert set(stored.data) == {"tls.crt", "tls.key"}


async def test_a_secret_with_something_else_in_it_is_left_alone(server: LocalCluster) -> None:
    await secret(server, tls_crt=b"mine")
    with pytest.raises(AuthorityError, match=r"^Secret tiphys-addons/ca holds no certificate"):
        await kept(server)
    stored = await server.client.get(core_v1.Secret, "ca", "tiphys-addons")
    assert stored.data == {"tls.crt": b"mine"}


def test_a_key_is_on_disk_for_a_moment_only(tmp_path: Path) -> None:
    pair = authority().server("10.0.0.1", NOW, 60)
    show(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair, tmp_path)
    assert list(tmp_path.iterdir()) == []
