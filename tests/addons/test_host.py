"""Add-ons in one process: each with its account, none able to take the others down."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from tiphys.addons import installing, types
from tiphys.addons.echo.types import Echo, EchoSpec
from tiphys.addons.host import Host, pause_after
from tiphys.addons.optional import Context, OptionalAddon
from tiphys.api import core_v1
from tiphys.api.base import Struct
from tiphys.api.meta_v1 import Condition, ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery import conditions
from tiphys.testing import LocalCluster


async def state(cluster: LocalCluster, name: str) -> Condition | None:
    found = await cluster.client.get(types.Addon, name)
    return conditions.find(found.status.conditions, "Ready")


async def serve(cluster: LocalCluster, offered: Mapping[str, OptionalAddon], root: Path) -> None:
    for addon in offered.values():
        await installing.enable(cluster.client, addon, addon.settings())
    Host(cluster.client_as(installing.HOST), offered, root, cluster.tasks).start()


async def test_an_enabled_add_on_works_in_a_test() -> None:
    async with LocalCluster(addons=["echo"]) as cluster:
        meta = ObjectMeta(name="hello", namespace="default")
        await cluster.client.create(Echo(metadata=meta, spec=EchoSpec(text="hi")))

        async def said() -> bool:
            return (await cluster.client.get(Echo, "hello", "default")).status.said == "hi"

        await cluster.eventually(said)


class FailureSettings(Struct):
    text: str = ""


async def fails(context: Context) -> None:
    raise RuntimeError("out of luck")


async def peeks(context: Context) -> None:
    await context.client.list(core_v1.Secret)


async def waits(context: Context) -> None:
    context.ready("it waits")
    await asyncio.Event().wait()


async def ends(context: Context) -> None:
    return None


async def loses_a_task(context: Context) -> None:
    context.tasks.start(fails(context), "vital", vital=True)
    await asyncio.Event().wait()


async def says(context: Context) -> None:
    context.ready(f"says {context.settings.text!r}")
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (99, 60), (9999, 60)]
)
def test_the_pause_after_a_failure_doubles_up_to_a_minute(failures: int, seconds: float) -> None:
    assert pause_after(failures) == seconds


WRONG = {
    "ender": (OptionalAddon("ender", "", ends), "Ended", "it ended by itself"),
    "lacking": (
        OptionalAddon("lacking", "", waits, extra="x", modules=("nonesuch",)),
        "Misconfigured",
        "lacking needs nonesuch: pip install 'tiphys[x]'",
    ),
    "loser": (
        OptionalAddon("loser", "", loses_a_task),
        "Crashed",
        "RuntimeError: a task that it depends on failed; the log says which",
    ),
}


async def test_why_one_does_not_run_is_said(tmp_path: Path) -> None:
    async with LocalCluster() as cluster:
        await serve(cluster, {name: addon for name, (addon, _, _) in WRONG.items()}, tmp_path)
        for name, (_, reason, message) in WRONG.items():

            async def said(name: str = name) -> Condition | None:
                return await state(cluster, name)

            found = await cluster.eventually(said)
            assert (found.status, found.reason, found.message) == ("False", reason, message)
            assert (await cluster.client.get(types.Addon, name)).status.restarts >= 1


async def test_one_runs_with_its_latest_settings_until_it_is_paused(tmp_path: Path) -> None:
    async with LocalCluster() as cluster:
        offered = {"sayer": OptionalAddon("sayer", "", says, settings=FailureSettings)}
        await serve(cluster, offered, tmp_path)
        client = cluster.client

        async def message() -> str:
            found = await state(cluster, "sayer")
            return found.message if found is not None and found.status == "True" else ""

        assert await cluster.eventually(message) == "says ''"
        await client.patch(types.Addon, "sayer", {"spec": {"settings": {"text": "a"}}}, media=MERGE)

        async def changed() -> bool:
            return await message() == "says 'a'"

        await cluster.eventually(changed)
        await client.patch(types.Addon, "sayer", {"spec": {"paused": True}}, media=MERGE)

        def working() -> list[str]:
            return [name for name in names_of_tasks() if name.endswith("/addon-sayer")]

        await cluster.eventually(lambda: not working())
        await client.patch(types.Addon, "sayer", {"spec": {"paused": False}}, media=MERGE)
        await cluster.eventually(working)
        await client.delete(types.Addon, "sayer")
        await cluster.eventually(lambda: not working())


def names_of_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks()]


async def test_one_that_crashes_leaves_the_others(tmp_path: Path) -> None:
    async with LocalCluster() as cluster:
        offered = {
            "crasher": OptionalAddon("crasher", "", fails, settings=FailureSettings),
            "waiter": OptionalAddon("waiter", "", waits),
        }
        await serve(cluster, offered, tmp_path)

        async def known() -> bool:
            crasher = await state(cluster, "crasher")
            waiter = await state(cluster, "waiter")
            return crasher is not None and waiter is not None and waiter.status == "True"

        await cluster.eventually(known)
        crasher = await state(cluster, "crasher")
        assert crasher is not None
        assert (crasher.status, crasher.reason) == ("False", "Crashed")
        assert crasher.message == "RuntimeError: out of luck"


async def test_an_add_on_may_do_what_it_declares_and_no_more(tmp_path: Path) -> None:
    async with LocalCluster() as cluster:
        await serve(cluster, {"peeker": OptionalAddon("peeker", "", peeks)}, tmp_path)

        async def refused() -> bool:
            found = await state(cluster, "peeker")
            return found is not None and found.reason == "Refused"

        await cluster.eventually(refused)
        found = await state(cluster, "peeker")
        assert found is not None
        assert 'User "system:serviceaccount:tiphys-addons:peeker" cannot list' in found.message
        assert (tmp_path / "peeker" / "token").stat().st_mode & 0o777 == 0o600


async def test_nobody_enables_what_there_is_not(tmp_path: Path) -> None:
    async with LocalCluster(addons=["echo"]) as cluster:
        await cluster.client.create(types.Addon(metadata=ObjectMeta(name="nonesuch")))

        async def told() -> bool:
            found = await state(cluster, "nonesuch")
            return found is not None and found.reason == "Unknown"

        await cluster.eventually(told)
