"""Whose token a secret holds."""

from __future__ import annotations

import base64
import json

import pytest
import pytest_asyncio

from tests.controllers.bench import Bench
from tiphys.api.core_v1 import Secret, ServiceAccount
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.tokens import ACCOUNT_UID, TYPE, TokenSecretController, is_of


@pytest.mark.parametrize(("uid", "matches"), [(None, True), ("", True), ("u", True), ("v", False)])
def test_a_secret_is_about_one_account_and_not_its_successor(
    uid: str | None, matches: bool
) -> None:
    annotations = {} if uid is None else {ACCOUNT_UID: uid}
    secret = Secret(metadata=ObjectMeta(annotations=annotations))
    account = ServiceAccount(metadata=ObjectMeta(name="a", uid="u"))
    assert is_of(secret, account) is matches


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def secrets(bench: Bench) -> TokenSecretController:
    made = bench.start(TokenSecretController, ca="the CA")
    bench.follow(made._secrets)
    return made


def wanted(account: str = "default") -> Secret:
    names = {"kubernetes.io/service-account.name": account}
    return Secret(metadata=ObjectMeta(name="t", annotations=names), type=TYPE)


@together
async def test_a_secret_gets_the_token_the_authority_and_the_namespace(
    bench: Bench, secrets: TokenSecretController
) -> None:
    await bench.add(wanted())
    await bench.step(secrets, "t")
    made = await bench.get(Secret, "t")
    assert made is not None
    assert made.data["ca.crt"] == b"the CA" and made.data["namespace"] == bench.namespace.encode()
    assert made.data["token"].count(b".") == 2
    account = await bench.get(ServiceAccount, "default")
    assert account is not None and made.metadata.annotations[ACCOUNT_UID] == account.metadata.uid
    await bench.step(secrets, "t")
    assert await bench.get(Secret, "t") == made, "nothing is written again"
    await bench.change(made, data={"ca.crt": "b2xk"})
    await bench.step(secrets, "t")
    again = await bench.get(Secret, "t")
    assert again is not None and again.data == made.data, "the token stays"
    await bench.change(made, data={"token": None})
    await bench.step(secrets, "t")
    again = await bench.get(Secret, "t")
    assert again is not None and again.data["token"].count(b".") == 2


@together
async def test_a_token_is_bound_to_its_secret_and_lasts_long(
    bench: Bench, secrets: TokenSecretController
) -> None:
    secret = await bench.add(wanted())
    await bench.step(secrets, "t")
    made = await bench.get(Secret, "t")
    assert made is not None
    middle = made.data["token"].split(b".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + b"=" * (-len(middle) % 4)))
    assert claims["kubernetes.io"]["secret"] == {"name": "t", "uid": secret.metadata.uid}
    assert claims["exp"] - claims["iat"] == (1 << 32) - 1


@together
async def test_a_secret_goes_with_its_account_and_not_because_an_informer_is_late(
    bench: Bench, secrets: TokenSecretController
) -> None:
    made = await bench.add(wanted())
    with bench.unseen(ServiceAccount):
        secrets._accounts._objects.clear()
        await bench.step(secrets, "t")
    assert await bench.get(Secret, "t") is not None
    await bench.queued(secrets)
    await bench.client.delete(ServiceAccount, "default", bench.namespace)
    assert await bench.queued(secrets) == ["t"], "its account leads to it"
    await bench.step(secrets, "t")
    assert await bench.get(Secret, "t") is None
    assert await bench.step(secrets, "t") is None and made.metadata.name == "t"


@together
async def test_one_on_its_way_out_is_left_alone(
    bench: Bench, secrets: TokenSecretController
) -> None:
    made = wanted("nobody")
    made.metadata.finalizers = ["a.b/c"]
    standing = await bench.add(made)
    await bench.remove(standing)
    await bench.step(secrets, "t")
    found = await bench.get(Secret, "t")
    assert found is not None and not found.data
