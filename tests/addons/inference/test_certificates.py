"""Certificates of endpoints."""

from __future__ import annotations

from cryptography import x509

from tiphys.addons.authority import Authority
from tiphys.addons.inference.certificates import LIFETIME, RENEWED, Certificates
from tiphys.addons.inference.routes import Route

NOW = 1_800_000_000.0
ROUTE = Route("model", "default", "session")


def test_an_endpoint_shows_one_certificate_until_it_is_renewed() -> None:
    certificates = Certificates(Authority.new("inference", NOW)[0])
    first = certificates.of(ROUTE, "10.0.0.1", NOW)
    assert certificates.of(ROUTE, "10.0.0.1", NOW + LIFETIME - RENEWED - 60) is first
    second = certificates.of(ROUTE, "10.0.0.1", NOW + LIFETIME - RENEWED + 60)
    assert second is not first and second.expires > first.expires
    assert certificates.of(ROUTE, "10.0.0.1", NOW + LIFETIME - RENEWED + 120) is second


def test_it_is_for_its_names_and_its_address_alone() -> None:
    certificates = Certificates(Authority.new("inference", NOW)[0])
    pair = certificates.of(ROUTE, "10.0.0.1", NOW)
    assert certificates.of(ROUTE, "10.0.0.2", NOW) is not pair
    shown = x509.load_pem_x509_certificate(pair.certificate.encode())
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"model.default.svc", "model.default"}
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
