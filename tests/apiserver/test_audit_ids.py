"""Every answer names its request, as the client has named it or by a random UUID (upstream's
WithAuditInit)."""

from __future__ import annotations

import uuid

import pytest

from tests.attack.wire import ask
from tiphys.testing import LocalCluster

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", MAPS, 200),
        ("GET", f"{MAPS}/none", 404),
        ("POST", MAPS, 400),
        ("GET", "/readyz", 200),
        ("GET", "/nowhere", 404),
        ("GET", f"{MAPS}?watch=1&timeoutSeconds=1", 200),
    ],
)
async def test_an_answer_has_a_random_name(
    server: LocalCluster, method: str, path: str, code: int
) -> None:
    answers = [await ask(server.client, method, path) for _ in range(2)]
    assert [answer.status for answer in answers] == [code, code]
    names = [uuid.UUID(answer.headers["audit-id"]) for answer in answers]
    assert names[0] != names[1]
    assert [(name.version, name.variant) for name in names] == [(4, uuid.RFC_4122)] * 2


@pytest.mark.parametrize("name", ["mine", "with blanks", "x" * 2000])
async def test_an_answer_has_the_name_that_the_client_gave(server: LocalCluster, name: str) -> None:
    answer = await ask(server.client, "GET", MAPS, {"audit-id": name})
    assert answer.headers["audit-id"] == name


async def test_who_is_nobody_gets_a_name_too(server: LocalCluster) -> None:
    answer = await ask(server.client, "GET", MAPS, {"Authorization": "Bearer x", "Audit-ID": "a"})
    assert answer.headers["audit-id"] == "a"
