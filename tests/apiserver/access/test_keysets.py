"""The keys of an issuer: which of a published set are believed, and when they are fetched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import get_default_algorithms

from tests.apiserver.access.builders import authority
from tests.apiserver.tables import each_row
from tiphys.apiserver.access.keysets import IssuerError, Key, KeySet, read_keys

CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def jwk(key: Any, algorithm: str, private: bool = False) -> dict[str, Any]:
    shown = key if private else key.public_key()
    row: dict[str, Any] = get_default_algorithms()[algorithm].to_jwk(shown, as_dict=True)
    return row


EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
SHORT = jwk(RSA, "RS256") | {"n": "AQAB"}
ROW = jwk(EC, "ES256")


def keys(*rows: Any) -> list[Key]:
    return read_keys(json.dumps({"keys": list(rows)}).encode())


@each_row(
    [
        ({**ROW, "kid": "a"}, "a"),
        (ROW, ""),
        ({**ROW, "kid": 5}, ""),
        ({**jwk(RSA, "RS256"), "kid": "r"}, "r"),
        (jwk(EC, "ES256", private=True), None),
        ({**ROW, "kty": "oct"}, None),
        ({**ROW, "crv": "P-999"}, None),
        ({**ROW, "x": "!"}, None),
        (SHORT, None),
        ({"kty": "RSA"}, None),
        ("text", None),
    ],
)
def test_which_keys_are_believed(row: Any, name: str | None) -> None:
    found = keys(row)
    assert [key.id for key in found] == ([] if name is None else [name])


def test_what_cannot_be_read_of_a_set_is_passed_over() -> None:
    assert [key.id for key in keys("x", {**ROW, "kid": "a"}, {}, {**ROW, "kid": "b"})] == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"x", "the answer is no JSON"),
        (b"[]", "the answer is no object"),
        (b"{}", "the answer has no keys"),
        (b'{"keys": {}}', "the answer has no keys"),
        (json.dumps({"keys": [0] * 101}).encode(), "more than 100 keys"),
    ],
)
def test_what_is_no_set_of_keys(data: bytes, problem: str) -> None:
    with pytest.raises(IssuerError, match=problem):
        read_keys(data)
    assert read_keys(json.dumps({"keys": [0] * 100}).encode()) == []


@pytest.mark.parametrize("algorithm", ["RS256", "PS512", "ES256", "ES384", "ES512", "HS256"])
def test_a_key_fits_the_algorithms_of_its_kind(algorithm: str) -> None:
    assert Key("", RSA.public_key()).fits(algorithm) == (algorithm in ("RS256", "PS512"))
    for name, curve in CURVES.items():
        key = Key("", ec.generate_private_key(curve).public_key())
        assert key.fits(algorithm) == (algorithm == name)


# --- when they are fetched ---


class Fetched(KeySet):
    """Whose issuer answers with what is set, at a time that is set."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.asked: list[str] = []
        self.document: Any = {"issuer": "https://i", "jwks_uri": "https://i/keys"}
        self.listed: Any = {"keys": [{**ROW, "kid": "a"}]}
        super().__init__("https://i/", "", authority(), now=lambda: self.clock)
        self._url = "https://i"

    async def _get(self, url: str) -> bytes:
        self.asked.append(url)
        return json.dumps(self.listed if url.endswith("/keys") else self.document).encode()


WELL_KNOWN = "https://i/.well-known/openid-configuration"


async def test_keys_are_fetched_once_a_moment_and_afresh_after_ten_minutes() -> None:
    keys = Fetched()
    assert keys.known() == [] and "not initialized" in keys.problem
    assert [key.id for key in await keys.refreshed()] == ["a"]
    assert keys.asked == [WELL_KNOWN, "https://i/keys"] and keys.problem == ""
    keys.clock = 0.9
    await keys.refreshed()
    assert len(keys.asked) == 2
    keys.clock = 1.0
    await keys.refreshed()
    assert keys.asked[2:] == ["https://i/keys"]
    keys.clock = 601.0
    keys.known()
    assert keys._under_way is None
    keys.clock = 601.1
    keys.known()
    assert keys._under_way is not None
    await keys._under_way
    assert len(keys.asked) == 4
    await keys.close()


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"issuer": "https://other", "jwks_uri": "https://i/keys"}, "issuer did not match"),
        ({"issuer": "https://i"}, "provider did not return JWKS URL"),
        ({"issuer": "https://i", "jwks_uri": "http://i/keys"}, "provider did not return JWKS URL"),
        ([], "the answer is no object"),
    ],
)
async def test_a_document_that_is_wrong_gives_no_keys(document: Any, problem: str) -> None:
    keys = Fetched()
    keys.document = document
    assert await keys.refreshed() == [] and problem in keys.problem
    await keys.close()


async def test_keys_stay_while_the_issuer_is_wrong_and_it_may_have_moved() -> None:
    keys = Fetched()
    await keys.refreshed()
    keys.listed = []
    keys.clock = 2.0
    assert [key.id for key in await keys.refreshed()] == ["a"] and "no object" in keys.problem
    keys.listed = {"keys": [{**ROW, "kid": "b"}]}
    keys.clock = 4.0
    assert [key.id for key in await keys.refreshed()] == ["b"]
    assert keys.asked[-2:] == [WELL_KNOWN, "https://i/keys"]
    await keys.close()
