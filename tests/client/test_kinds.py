"""What a dictionary has to say for a client to know its kind."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.client.kinds import Kinds


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
