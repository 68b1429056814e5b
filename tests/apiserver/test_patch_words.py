"""What upstream says of patches that cannot be applied."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.words import MAPS, PODS, told, with_pod
from tests.builders import config_map
from tiphys.client.client import MERGE
from tiphys.machinery import gowords
from tiphys.testing import LocalCluster

STRATEGIC = "application/strategic-merge-patch+json"


@pytest.mark.parametrize(
    ("media", "body", "message"),
    [
        (
            "application/json-patch+json",
            "{}",
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            "application/json-patch+json",
            "x",
            "error decoding patch: invalid character 'x' looking for beginning of value",
        ),
        (
            MERGE,
            "5",
            "error decoding patch: json: cannot unmarshal number into Go value of type map[string]interface {}",
        ),
        (MERGE, "null", "Invalid JSON Patch"),
        (
            MERGE,
            '{"metadata":{"name":"b"}}',
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            MERGE,
            '{"metadata":{"namespace":"b"}}',
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ],
)
async def test_patches_that_cannot_be(
    server: LocalCluster, media: str, body: str, message: str
) -> None:
    await server.client.create(config_map("a"))
    assert await told(server, "PATCH", f"{MAPS}/a", body, content=media) == (400, message)


@pytest.mark.parametrize("subresource", ["", "/scale"])
@pytest.mark.parametrize("body", ["{", "null", "5"])
async def test_of_what_is_not_there_no_patch_is_read(
    server: LocalCluster, body: str, subresource: str
) -> None:
    path = f"/apis/apps/v1/namespaces/default/deployments/none{subresource}"
    expected = (404, 'deployments.apps "none" not found')
    assert await told(server, "PATCH", path, body, content=MERGE) == expected


async def test_a_strict_patch_shows_what_it_would_have_made(server: LocalCluster) -> None:
    await server.client.create(config_map("a"))
    strict = {"query": {"fieldValidation": "Strict"}}
    code, message = await told(
        server, "PATCH", f"{MAPS}/a", {"zz": {"b": [1, None]}}, content=MERGE, **strict
    )
    assert code == 422 and message.startswith(
        ' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"v1\\"'
    )
    assert message.endswith('strict decoding error: unknown field "zz"')
    code, message = await told(
        server, "PATCH", f"{MAPS}/a", {"zz": {"b": [1, None]}}, content=STRATEGIC, **strict
    )
    shown = "map[zz:map[b:[1 <nil>]]]"
    assert (
        message
        == f' "" is invalid: patch: Invalid value: "{shown}": strict decoding error: unknown field "zz"'
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"labels": "x"}}, "cannot restore map from string"),
        ({"metadata": 5}, "cannot restore struct from: int64"),
        ({"spec": {"containers": "x"}}, "cannot restore slice from string"),
        ({"spec": {"nodeName": 5}}, "cannot convert int64 to string"),
        ({"spec": {"hostNetwork": "x"}}, "unrecognized type: bool"),
    ],
)
async def test_strategic_patches_are_refused_as_the_converter_says(
    server: LocalCluster, change: dict[str, Any], message: str
) -> None:
    await with_pod(server)
    code, said = await told(server, "PATCH", f"{PODS}/a", change, content=STRATEGIC)
    assert code == 422 and said.endswith(f'": {message}') and gowords.formatted(change) in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"spec": {"containers": [{"image": "x"}]}},
            "map: map[image:x] does not contain declared merge key: name",
        ),
        (
            {"spec": {"containers": [{"$patch": "delete"}]}},
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            {"spec": {"containers": [{"name": "a", "$patch": "merge"}]}},
            "merging lists cannot yet be specified in the patch",
        ),
        ({"metadata": {"labels": {"$patch": "x"}}}, "unknown patch type: x in map: map[$patch:x]"),
        (
            {"spec": {"$setElementOrder/containers": 5}},
            "expected a []interface {}, but received a int64",
        ),
        (
            {"spec": {"$retainKeys": ["nodeName"], "hostNetwork": True}},
            "invalid patch format of retainKeys",
        ),
    ],
)
async def test_strategic_directives_are_refused_in_upstream_s_words(
    server: LocalCluster, change: dict[str, Any], message: str
) -> None:
    await with_pod(server)
    assert await told(server, "PATCH", f"{PODS}/a", change, content=STRATEGIC) == (400, message)
