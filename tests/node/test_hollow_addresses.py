"""Hollow pods have an address of each family, and none has another's."""

from __future__ import annotations

import pytest

from tests.builders import pod as build_pod
from tiphys.node.hollow import HollowRuntime
from tiphys.node.naming import Resolver


async def addresses(runtime: HollowRuntime, uid: str) -> tuple[str, ...]:
    pod = build_pod("p")
    pod.metadata.uid = uid
    return (await runtime.run_sandbox(pod, 0, Resolver([], [], []), "p")).ips


@pytest.mark.parametrize("versions", [(4,), (6,), (4, 6), (6, 4)])
async def test_a_hollow_pod_has_an_address_of_each_family_in_order(
    versions: tuple[int, ...],
) -> None:
    runtime = HollowRuntime(3, versions=versions)
    found = [await addresses(runtime, uid) for uid in "abc"]
    assert all([6 if ":" in one else 4 for one in ips] == list(versions) for ips in found)
    assert len({one for ips in found for one in ips}) == 3 * len(versions)
