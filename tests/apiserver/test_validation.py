"""Every rule of docs/validation.md, broken once against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.apiserver.kit import SERVED, body_of, changed
from tests.apiserver.validation import TABLE, Case, document
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


async def answered(server: LocalCluster, method: str, path: str, body: Any, **query: str) -> Any:
    """The object, or the Status of a refusal."""
    try:
        data = await server.client.request(method, path, json.dumps(body).encode(), query or None)
    except StatusError as error:
        return json.loads(json.dumps({"code": error.code, "message": error.status.message}))
    return json.loads(data)


async def broken(server: LocalCluster, case: Case, number: int) -> str:
    """What the server says of the case; "" when it takes it."""
    resource = SERVED[case.resource]
    name = f"case-{number}"
    valid = body_of(resource, name)
    space = "default" if resource.namespaced else ""
    if case.before is None:
        found = await answered(
            server, "POST", resource.path(space), changed(valid, case.parts), dryRun="All"
        )
    else:
        made = await answered(server, "POST", resource.path(space), changed(valid, case.before))
        assert "metadata" in made, (case, made)
        found = await answered(
            server,
            "PUT",
            resource.path(space, name),
            changed(made, case.parts),
            dryRun="All",
        )
    return f"{found['code']} {found['message']}" if "code" in found else ""


def wrong(case: Case, said: str) -> Iterator[str]:
    where = case.field.rstrip(".")
    if not said:
        yield f"{case.resource} {where}: taken, should say {case.says!r}"
    elif not said.startswith("422") or f"{where}: " not in said or case.says not in said:
        yield f"{case.resource} {where}: should say {case.says!r}, says {said[:400]!r}"


async def test_every_rule_is_kept_and_told_in_upstreams_words(server: LocalCluster) -> None:
    await server.client.create(
        core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    )
    cases = [case for rules in TABLE for case in rules.cases]
    assert len(cases) > 250
    problems = [
        p
        for number, case in enumerate(cases)
        for p in wrong(case, await broken(server, case, number))
    ]
    assert problems == []


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text() == document(), (
        "write it anew: python -m tests.apiserver.validation > docs/validation.md"
    )
