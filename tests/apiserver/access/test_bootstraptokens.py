"""Who is let in with a bootstrap token, as whom, and for how long."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.apiserver.access.builders import remove, stored, write
from tests.machinery.builders import NOW, TOKEN, secret
from tiphys.api import core_v1
from tiphys.apiserver.access.bootstraptokens import BootstrapTokens

USAGE = {"usage_bootstrap_authentication": "true"}


def user(made: core_v1.Secret, token: str = TOKEN.text, now: float = NOW) -> str:
    """The name of whom a token is of, "" when it lets nobody in."""
    found = BootstrapTokens(stored(made), lambda: now).user(token)
    return found.name if found else ""


def being_deleted() -> core_v1.Secret:
    made = secret(**USAGE)
    made.metadata.deletion_timestamp = "2027-01-15T07:59:59Z"
    return made


def test_a_token_makes_a_bootstrapper_with_its_groups() -> None:
    made = secret(auth_extra_groups="system:bootstrappers:a", **USAGE)
    found = BootstrapTokens(stored(made), lambda: NOW).user(TOKEN.text)
    assert found is not None and found.name == "system:bootstrap:abcdef"
    assert found.groups == (
        "system:bootstrappers",
        "system:bootstrappers:a",
        "system:authenticated",
    )


@pytest.mark.parametrize(
    "made",
    [
        lambda: secret(),
        lambda: secret(usage_bootstrap_authentication="yes"),
        lambda: secret(usage_bootstrap_signing="true"),
        lambda: secret(type="Opaque", **USAGE),
        lambda: secret(token_id="fedcba", **USAGE),
        lambda: secret(token_secret="0123456789abcdeg", **USAGE),
        lambda: secret(expiration="2027-01-15T08:00:00Z", **USAGE),
        lambda: secret(expiration="soon", **USAGE),
        lambda: secret(auth_extra_groups="system:masters", **USAGE),
        being_deleted,
    ],
)
def test_a_token_whose_secret_is_not_as_it_should_be_lets_nobody_in(
    made: Callable[[], core_v1.Secret],
) -> None:
    assert user(secret(**USAGE)) and not user(made())


def test_a_token_ends_with_its_secret() -> None:
    made = secret(**USAGE)
    store = stored(made)
    tokens = BootstrapTokens(store, lambda: NOW)
    assert tokens.user(TOKEN.text)
    remove(store, made)
    assert tokens.user(TOKEN.text) is None
    write(store, made)
    assert tokens.user(TOKEN.text)
