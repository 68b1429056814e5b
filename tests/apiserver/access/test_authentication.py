"""Tokens and certificates: whom they name, when they begin and end, and which are refused."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from tests.apiserver.access.builders import remove, stored, write
from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.access.authentication import Authenticator
from tiphys.apiserver.access.serviceaccounttokens import InvalidToken, ServiceAccountTokens
from tiphys.cluster.certificates import key_pem, new_key
from tiphys.machinery import timestamps
from tiphys.store.store import Store

NOW = 1_800_000_000.0
ISSUER = "https://kubernetes.default.svc"
HOUR = 3600
KEY = key_pem(new_key())


@dataclasses.dataclass
class Clock:
    """Seconds since the epoch."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def metadata(name: str, namespace: str = "default") -> ObjectMeta:
    return ObjectMeta(name=name, namespace=namespace, uid=f"{name}-uid")


ROBOT = core_v1.ServiceAccount(metadata=metadata("robot"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> Store:
    return stored(ROBOT)


@pytest.fixture
def tokens(store: Store, clock: Clock) -> ServiceAccountTokens:
    return ServiceAccountTokens(KEY, ISSUER, store, clock)


def sign(
    tokens: ServiceAccountTokens,
    audiences: list[str] | None = None,
    bound: tuple[str, str, str] | None = None,
) -> str:
    """A token of the robot for an hour."""
    return tokens.sign("default", "robot", "robot-uid", HOUR, audiences, bound)[0]


def is_valid(tokens: ServiceAccountTokens, token: str) -> bool:
    try:
        tokens.review(token)
    except InvalidToken:
        return False
    return True


def test_a_token_names_its_account(tokens: ServiceAccountTokens) -> None:
    user, audiences = tokens.review(sign(tokens))
    assert user.name == "system:serviceaccount:default:robot"
    assert user.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    )
    assert (user.uid, audiences) == ("robot-uid", [ISSUER])


@pytest.mark.parametrize(
    ("later", "valid"),
    [
        (-61, False),  # before it is valid, by more than clocks may differ
        (-60, True),
        (0, True),
        (HOUR + 59, True),
        (HOUR + 60, False),
    ],
)
def test_when_a_token_holds(
    tokens: ServiceAccountTokens, clock: Clock, later: float, valid: bool
) -> None:
    token = sign(tokens)
    clock.now += later
    assert is_valid(tokens, token) == valid


def forged(tokens: ServiceAccountTokens, **changes: float) -> str:
    """A token with other claims, signed with our key."""
    claims = jwt.decode(sign(tokens), options={"verify_signature": False})
    key = load_pem_private_key(KEY, None)
    return jwt.encode(claims | changes, key, "ES256")  # type: ignore[arg-type]


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_does_not_hold_before_it_says(tokens: ServiceAccountTokens, claim: str) -> None:
    assert is_valid(tokens, forged(tokens, **{claim: NOW + 60}))
    assert not is_valid(tokens, forged(tokens, **{claim: NOW + 61}))


@pytest.mark.parametrize(
    ("audiences", "asked", "both"),
    [
        (None, None, [ISSUER]),
        (["vault"], None, None),
        (["vault"], ["vault"], ["vault"]),
        (["vault", "bank"], ["bank", "church"], ["bank"]),
        (["vault", ISSUER], None, [ISSUER]),
        (None, ["vault"], None),
        (["vault"], [], None),
    ],
)
def test_whom_a_token_is_for(
    tokens: ServiceAccountTokens,
    audiences: list[str] | None,
    asked: list[str] | None,
    both: list[str] | None,
) -> None:
    token = sign(tokens, audiences)
    if both is None:
        with pytest.raises(InvalidToken, match="is invalid for the target audiences"):
            tokens.review(token, asked)
    else:
        assert tokens.review(token, asked)[1] == both


def test_a_token_of_another_key_is_refused(tokens: ServiceAccountTokens, store: Store) -> None:
    other = ServiceAccountTokens(key_pem(new_key()), ISSUER, store, tokens.now)
    assert not is_valid(tokens, sign(other))


def test_a_token_of_another_issuer_is_refused(tokens: ServiceAccountTokens, store: Store) -> None:
    other = ServiceAccountTokens(KEY, "https://else.where", store, tokens.now)
    assert not is_valid(tokens, sign(other))


def test_a_token_that_nobody_signed_is_refused(tokens: ServiceAccountTokens) -> None:
    claims = jwt.decode(sign(tokens), options={"verify_signature": False})
    assert not is_valid(tokens, jwt.encode(claims, "", "none"))
    assert not is_valid(tokens, jwt.encode(claims, "secret" * 8, "HS256"))


@pytest.mark.parametrize(
    ("name", "uid", "valid"),
    [
        ("robot", "robot-uid", True),
        ("robot", "other-uid", False),
        ("robot", "", False),
        ("gone", "gone-uid", False),
    ],
)
def test_the_account_is_there_and_the_same(
    tokens: ServiceAccountTokens, name: str, uid: str, valid: bool
) -> None:
    assert is_valid(tokens, tokens.sign("default", name, uid, HOUR)[0]) == valid


def test_a_token_ends_with_its_account(tokens: ServiceAccountTokens, store: Store) -> None:
    token = sign(tokens)
    assert is_valid(tokens, token)
    remove(store, ROBOT)
    assert not is_valid(tokens, token)


BOUND = [
    core_v1.Secret(metadata=metadata("thing")),
    core_v1.Node(metadata=metadata("thing", "")),
    core_v1.Pod(metadata=metadata("thing")),
]


@pytest.mark.parametrize("obj", BOUND, ids=lambda obj: obj.kind)
def test_a_token_ends_with_what_it_is_bound_to(
    tokens: ServiceAccountTokens, store: Store, obj: core_v1.Secret
) -> None:
    token = sign(tokens, bound=(obj.kind, "thing", "thing-uid"))
    assert not is_valid(tokens, token)
    write(store, obj)
    assert is_valid(tokens, token)
    assert not is_valid(tokens, sign(tokens, bound=(obj.kind, "thing", "other-uid")))
    remove(store, obj)
    assert not is_valid(tokens, token)


@pytest.mark.parametrize(("later", "valid"), [(59, True), (60, True), (61, False)])
def test_a_token_ends_a_minute_after_its_pods_deletion(
    tokens: ServiceAccountTokens, store: Store, clock: Clock, later: float, valid: bool
) -> None:
    deleted = pod("p")
    deleted.metadata.uid = "p-uid"
    deleted.metadata.deletion_timestamp = timestamps.rfc3339(NOW)
    write(store, deleted)
    token = sign(tokens, bound=("Pod", "p", "p-uid"))
    clock.now += later
    assert is_valid(tokens, token) == valid


def test_what_a_token_says_of_its_pod_is_the_users(
    tokens: ServiceAccountTokens, store: Store
) -> None:
    write(store, BOUND[2], BOUND[0])
    user, _ = tokens.review(sign(tokens, bound=("Pod", "thing", "thing-uid")))
    assert user.extra["authentication.kubernetes.io/pod-name"] == ["thing"]
    assert user.extra["authentication.kubernetes.io/pod-uid"] == ["thing-uid"]
    user, _ = tokens.review(sign(tokens, bound=("Secret", "thing", "thing-uid")))
    assert list(user.extra) == ["authentication.kubernetes.io/credential-id"]


# --- certificates and static tokens ---


def certificate(*names: tuple[x509.ObjectIdentifier, str], seconds: int = HOUR) -> bytes:
    """A certificate that TLS would have verified before, until `seconds` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
    end = datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - datetime.timedelta(days=1))
        .not_valid_after(end)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


CN = NameOID.COMMON_NAME
O = NameOID.ORGANIZATION_NAME  # noqa: E741


@pytest.mark.parametrize(
    ("names", "user", "groups"),
    [
        ([(CN, "jane")], "jane", ("system:authenticated",)),
        ([(CN, "jane"), (O, "a"), (O, "b")], "jane", ("a", "b", "system:authenticated")),
        ([(CN, "jane"), (CN, "joe")], "joe", ("system:authenticated",)),
        ([(O, "system:authenticated"), (CN, "j")], "j", ("system:authenticated",)),
        ([(O, "devs")], None, ()),
    ],
)
def test_whom_a_certificate_names(
    tokens: ServiceAccountTokens,
    names: list[tuple[x509.ObjectIdentifier, str]],
    user: str | None,
    groups: tuple[str, ...],
) -> None:
    named = Authenticator(tokens).certificate(certificate(*names))
    assert (named and (named.name, named.groups)) == (user and (user, groups))


def test_a_certificate_ends_while_its_connection_lasts(
    tokens: ServiceAccountTokens, clock: Clock
) -> None:
    authenticator = Authenticator(tokens)
    der = certificate((CN, "jane"))
    clock.now += HOUR
    assert authenticator.certificate(der)
    clock.now += 1
    with pytest.raises(InvalidToken, match="certificate has expired"):
        authenticator.certificate(der)


async def test_static_tokens(tokens: ServiceAccountTokens, tmp_path: Path) -> None:
    file = tmp_path / "tokens.csv"
    file.write_text('abc,jane,1,"devs, ops"\nshort,row\n\ndef,joe,2\n')
    authenticator = Authenticator(tokens, file)
    jane = await authenticator.token("abc")
    assert (jane.name, jane.uid) == ("jane", "1")
    assert jane.groups == ("devs", "ops", "system:authenticated")
    assert (await authenticator.token("def")).groups == ("system:authenticated",)
    assert (await authenticator.review("abc", [ISSUER, "x"]))[1] == [ISSUER]
    for refused in ("short", "ab", "abcd", ""):
        with pytest.raises(InvalidToken):
            await authenticator.token(refused)
    with pytest.raises(InvalidToken):
        await authenticator.review("abc", ["vault"])
