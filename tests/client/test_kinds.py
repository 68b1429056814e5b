"""What a dictionary has to say for a client to know its kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tiphys.client.kinds import Kinds, UnknownKind
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError


async def nobody(path: str) -> bytes:
    raise AssertionError(f"{path} was asked for")


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"apiVersion": "v1"},
        {"kind": "Pod"},
        {"apiVersion": "", "kind": "Pod"},
        {"apiVersion": "v1", "kind": ""},
        {"apiVersion": 1, "kind": "Pod"},
        {"apiVersion": "v1", "kind": 1},
    ],
)
async def test_a_dictionary_without_a_version_or_kind_is_refused(manifest: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must have apiVersion and kind"):
        await Kinds(nobody).find(manifest)


async def test_built_in_kinds_need_no_discovery() -> None:
    target = await Kinds(nobody).find({"apiVersion": "apps/v1", "kind": "Deployment"})
    assert target.resource.group_resource == "deployments.apps"


LISTED = {
    "resources": [
        {"name": "widgets/status", "kind": "Widget", "namespaced": True},
        {"name": "widgets", "kind": "Widget", "namespaced": True},
        {"name": "places", "kind": "Place", "namespaced": False},
    ]
}
FOUND = {"apiVersion": "example.com/v1", "kind": "Widget"}


class Server:
    """Answers discovery, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.asked: list[str] = []

    async def get(self, path: str) -> bytes:
        self.asked.append(path)
        if self._error is not None:
            raise self._error
        return json.dumps(LISTED).encode()


async def test_other_kinds_are_discovered_once() -> None:
    server = Server()
    kinds = Kinds(server.get)
    for _ in range(2):
        found = (await kinds.find(FOUND)).resource
    assert (found.group, found.version, found.plural) == ("example.com", "v1", "widgets")
    assert found.namespaced and server.asked == ["/apis/example.com/v1"]
    place = (await kinds.find({"apiVersion": "v7", "kind": "Place"})).resource
    assert (place.group, place.version, place.namespaced) == ("", "v7", False)
    assert server.asked[1] == "/api/v7"


async def test_a_kind_that_nobody_serves_is_unknown_and_a_failure_is_none() -> None:
    unknown = 'no matches for kind "Gadget" in version "example.com/v1"'
    with pytest.raises(UnknownKind, match=unknown):
        await Kinds(Server().get).find(FOUND | {"kind": "Gadget"})
    with pytest.raises(UnknownKind):
        await Kinds(Server(errors.not_found("x", "y")).get).find(FOUND)
    with pytest.raises(StatusError, match="tired"):
        await Kinds(Server(errors.unavailable("tired")).get).find(FOUND)


async def test_objects_stand_at_paths_of_their_namespace() -> None:
    target = await Kinds(Server().get).find(FOUND)
    assert target.collection_path("") == "/apis/example.com/v1/namespaces/default/widgets"
    assert target.object_path("n", "a", "status") == (
        "/apis/example.com/v1/namespaces/n/widgets/a/status"
    )
    with pytest.raises(ValueError, match=r"which Widget\? it has no name"):
        target.object_path("n", "")
