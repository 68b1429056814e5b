"""Bootstrap tokens: what is one, whom it makes of its holder, and what it signs."""

from __future__ import annotations

import pytest

from tests.machinery.builders import NOW, TOKEN, secret
from tiphys.api.core_v1 import Secret
from tiphys.machinery import bootstraptokens
from tiphys.machinery.bootstraptokens import Token


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("abcdef.0123456789abcdef", TOKEN),
        ("abcdef.0123456789abcde", None),
        ("ABCDEF.0123456789abcdef", None),
        ("abcdef.0123456789abcdef\n", None),
        ("", None),
    ],
)
def test_a_token_is_six_and_sixteen_letters_and_digits(text: str, token: Token | None) -> None:
    assert bootstraptokens.parse(text) == token


@pytest.mark.parametrize(
    ("made", "token"),
    [
        (secret(), TOKEN),
        (secret(name="bootstrap-token-fedcba"), None),
        (secret(name="abcdef"), None),
        (secret(type="Opaque"), None),
        (secret(token_secret=""), None),
    ],
)
def test_a_secrets_name_and_content_fit_together(made: Secret, token: Token | None) -> None:
    assert bootstraptokens.token_of(made) == token


@pytest.mark.parametrize(
    ("expiration", "expired"),
    [
        ("2027-01-15T08:00:01Z", False),
        ("2027-01-15T08:00:00Z", True),
        ("2027-01-15T09:00:01+01:00", False),
        ("tomorrow", True),
    ],
)
def test_a_token_expires_and_one_with_nonsense_for_a_time_has(
    expiration: str, expired: bool
) -> None:
    assert bootstraptokens.is_expired(secret(expiration=expiration), NOW) is expired
    assert not bootstraptokens.is_expired(secret(), NOW)


@pytest.mark.parametrize(
    ("extra", "groups"),
    [
        ("", ["system:bootstrappers"]),
        ("system:bootstrappers:a", ["system:bootstrappers", "system:bootstrappers:a"]),
        ("system:masters", None),
        ("system:bootstrappers:a,system:masters", None),
        ("system:bootstrappers:", None),
        ("system:bootstrappers:a\n", None),
    ],
)
def test_a_token_makes_nobody_a_member_of_other_groups(
    extra: str, groups: list[str] | None
) -> None:
    assert bootstraptokens.groups(secret(auth_extra_groups=extra)) == groups


def test_a_signature_is_the_one_that_upstreams_library_makes() -> None:
    token = Token("joshua", "my voice is my passcode")
    shown = "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..7Ui1ALizW4jXphVUB7xUqC9vLYLL9RZeOFfVLoB7Tgk"
    assert bootstraptokens.signature("", token) == shown
    assert bootstraptokens.is_signed("", shown, token)
    assert not bootstraptokens.is_signed("x", shown, token)
    assert not bootstraptokens.is_signed("", shown, token._replace(secret="another"))
