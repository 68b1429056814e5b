"""Whom containers run as, and whose the files are that the node gives them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import pod
from tiphys.node.containers.nonroot import non_root_violation
from tiphys.node.volumes.projection import File
from tiphys.node.volumes.volumefiles import VolumeFiles

WHOSE = '(pod: "p_default(u)", container: c)'


def refused(
    image: tuple[int | None, str], own: dict[str, Any], shared: dict[str, Any] | None = None
) -> str:
    one = pod(
        containers=[{"name": "c", "image": "i", "securityContext": own}],
        securityContext=shared or {},
    )
    one.metadata.uid = "u"
    return non_root_violation(one, one.spec.containers[0], *image)


def test_who_must_not_be_root_is_held_to_it_by_the_node() -> None:
    must = {"runAsNonRoot": True}
    as_root = f"container has runAsNonRoot and image will run as root {WHOSE}"
    assert (
        refused((0, ""), must)
        == refused((None, ""), must)
        == refused((None, ""), {}, must)
        == as_root
    )
    assert refused((None, "web"), must) == (
        "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root "
        + WHOSE
    )
    assert (
        refused((7, ""), {**must, "runAsUser": 0})
        == f"container's runAsUser breaks non-root policy {WHOSE}"
    )
    assert "invalid user id (2147483648)" in refused((1 << 31, ""), must)


def test_who_may_be_root_or_is_not_is_let_run() -> None:
    must = {"runAsNonRoot": True}
    assert (
        refused((7, ""), must)
        == refused((0, ""), {**must, "runAsUser": 7})
        == refused((0, ""), {})
        == ""
    )
    assert (
        refused((0, ""), {"runAsNonRoot": False}, must)
        == refused((0, ""), must, {"runAsUser": 5})
        == ""
    )


@pytest.mark.parametrize(
    ("users", "shared", "expected"),
    [
        ((None, None), {}, File(b"t", 0o644)),
        ((5, 5), {}, File(b"t", 0o600, 5)),
        ((5, 6), {}, File(b"t", 0o644)),
        ((5, None), {"runAsUser": 5}, File(b"t", 0o600, 5)),
        (
            (5, None),
            {"fsGroup": 9},
            File(b"t", 0o600),
        ),  # the group adds its own bits when it is written
    ],
)
async def test_a_token_is_for_those_who_run_the_pod(
    users: tuple[int | None, ...], shared: dict[str, Any], expected: File
) -> None:
    containers = [
        {
            "name": f"c{n}",
            "image": "i",
            "securityContext": {} if user is None else {"runAsUser": user},
        }
        for n, user in enumerate(users)
    ]
    source = {"sources": [{"serviceAccountToken": {"path": "token"}}], "defaultMode": 0o644}
    one = pod(
        containers=containers, securityContext=shared, volumes=[{"name": "v", "projected": source}]
    )

    async def token(*_: object) -> str:
        return "t"

    files = VolumeFiles(SimpleNamespace(token=token), {})  # type: ignore[arg-type]
    assert await files.of(one, one.spec.volumes[0]) == {"token": expected}
