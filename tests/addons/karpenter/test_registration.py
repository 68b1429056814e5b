"""Whether a pool's nodes come up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.addons.karpenter.world import World, deployment, world
from tiphys.addons.karpenter.names import REGISTRATION_HEALTHY
from tiphys.addons.karpenter.registration import Registrations
from tiphys.api.meta_v1 import Condition
from tiphys.machinery import conditions

FAILED = ("RegistrationFailed", "Failed to register node")


def said(status: str, reason: str = "Because") -> Condition:
    return Condition(type=REGISTRATION_HEALTHY, status=status, reason=reason)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("", "Unknown"),
        ("y", "True"),
        ("n", "Unknown"),
        ("ny", "True"),
        ("nn", "False"),
        ("yn", "True"),
        ("ynn", "False"),
        ("nny", "False"),
        ("nnyy", "False"),
        ("nnyyy", "True"),
    ],
)
def test_the_last_four_claims_say_how_a_pool_is(outcomes: str, expected: str) -> None:
    registrations = Registrations()
    for outcome in outcomes:
        registrations.note("p", None if outcome == "y" else FAILED)
    now = registrations.condition("p", said("Unknown"), is_changed=False)
    assert now.status == expected
    assert expected != "False" or (now.reason, now.message) == FAILED


def test_what_was_said_is_known_after_a_restart_until_the_pool_changes() -> None:
    registrations = Registrations()
    for standing in (said("False", "RegistrationFailed"), said("True")):
        registrations.forget("p")
        now = registrations.condition("p", standing, is_changed=False)
        assert now.status == standing.status
        assert registrations.condition("p", standing, is_changed=True).status == "Unknown"
    assert registrations.condition("p", None, is_changed=False).status == "Unknown"


async def healthy(w: World) -> Condition | None:
    return conditions.find((await w.get_pool()).status.conditions, REGISTRATION_HEALTHY)


async def test_a_pool_is_healthy_once_a_node_has_registered() -> None:
    async with world() as w:
        await w.pool()

        async def is_(status: str) -> bool:
            found = await healthy(w)
            return found is not None and found.status == status

        await w.cluster.eventually(lambda: is_("Unknown"))
        await w.client.create(deployment("web", 1))
        await w.cluster.eventually(lambda: is_("True"))
        await w.pool(weight=7)
        await w.cluster.eventually(lambda: is_("Unknown"))
        assert (await w.get_pool()).status.node_class_observed_generation == 1


@pytest.mark.slow
async def test_a_pool_is_not_healthy_whose_machines_never_register() -> None:
    async with world() as w:
        w.shared.cloud.catalog = replace(w.shared.cloud.catalog, boot=3600.0)  # none comes up
        await w.pool()
        await w.client.create(deployment("web", 1))
        for _ in range(2):
            await w.cluster.eventually(lambda: has_machine(w))
            (claim,) = await w.claims()
            w.turn(901)

            async def is_gone(name: str = claim.name) -> bool:
                return name not in {each.name for each in await w.claims()}

            await w.cluster.eventually(is_gone)

        async def is_unhealthy() -> bool:
            found = await healthy(w)
            return found is not None and (found.reason, found.message) == FAILED

        await w.cluster.eventually(is_unhealthy)


async def has_machine(w: World) -> bool:
    return any(claim.status.provider_id for claim in await w.claims())
