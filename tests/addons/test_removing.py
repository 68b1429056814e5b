"""Nothing of an add-on is left once it is disabled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tiphys.addons import OPTIONAL, installing, removing, types
from tiphys.addons.echo.types import Echo, EchoSpec
from tiphys.addons.host import Host
from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api import core_v1, rbac_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import always
from tiphys.api.meta_v1 import Object, ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.operator import Reconciler, custom_resource, definition
from tiphys.testing import LocalCluster


async def test_disabling_leaves_nothing() -> None:
    async with LocalCluster(addons=["echo"]) as cluster:
        meta = ObjectMeta(name="hello", namespace="default")
        await cluster.client.create(Echo(metadata=meta, spec=EchoSpec(text="hi")))
        lost = await removing.custom_objects(cluster.client, OPTIONAL["echo"])
        assert lost == ["Echo default/hello"]
        await removing.disable(cluster.client, OPTIONAL["echo"])
        label = "addons.tiphys.dev/name=echo"
        for kind in (
            CustomResourceDefinition,
            core_v1.ServiceAccount,
            rbac_v1.ClusterRole,
            rbac_v1.ClusterRoleBinding,
        ):
            assert not (await cluster.client.list(kind, labels=label)).items
        with pytest.raises(StatusError):
            await cluster.client.get(types.Addon, "echo")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "0"),
        (5, "0, 1, 2, 3, 4"),
        (6, "0, 1, 2, 3, 4 and 1 more"),
        (9, "0, 1, 2, 3, 4 and 4 more"),
    ],
)
def test_of_many_objects_five_are_named(count: int, text: str) -> None:
    assert removing.shortened([str(number) for number in range(count)]) == text


async def test_disabling_removes_what_is_labelled_and_nothing_else() -> None:
    async with LocalCluster(addons=["echo"]) as cluster:
        client = cluster.client
        label = {"addons.tiphys.dev/name": "echo"}
        for name, labels in (("own", label), ("other", {"addons.tiphys.dev/name": "mesh"})):
            for namespace in ("default", "tiphys-addons"):
                meta = ObjectMeta(name=name, namespace=namespace, labels=labels)
                await client.create(core_v1.ConfigMap(metadata=meta))
        await removing.disable(client, OPTIONAL["echo"])
        left = [one.metadata.name for one in (await client.list(core_v1.ConfigMap)).items]
        assert left.count("other") == 2 and "own" not in left
        await removing.disable(client, OPTIONAL["echo"])  # there is nothing left to remove


async def test_what_does_not_go_is_named_with_where_to_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(removing, "_GOING", 0.2)
    async with LocalCluster() as cluster:
        await installing.enable(cluster.client, POST, POST.settings())
        meta = ObjectMeta(name="one", namespace="default", finalizers=["post.example/nobody"])
        await cluster.client.create(Letter(metadata=meta))
        with pytest.raises(installing.AddonError) as refused:
            await removing.disable(cluster.client, POST)
        assert str(refused.value) == (
            "post: Letter default/one does not go; is it ready (tiphys addon status post)? "
            "Look at: kubectl get crd,deploy,svc -A -l addons.tiphys.dev/name=post"
        )


GROUP = "post.example"


@custom_resource(GROUP)
class Stamp(Object):
    """A kind of which there are no objects."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("Stamp")


@custom_resource(GROUP)
class Letter(Object):
    """One that may go when its controller has let it."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("Letter")


class LetterReconciler(Reconciler[Letter]):
    kind = Letter
    owns = (Stamp,)
    finalizer = f"{GROUP}/letter"

    async def reconcile(self, obj: Letter) -> float | None:
        return None


async def run(context: Context) -> None:
    await context.reconcile(LetterReconciler)
    await asyncio.Event().wait()


KINDS = (definition(Stamp), definition(Letter))
POST = OptionalAddon("post", "", run, rights=(rule("*", "*", GROUP),), definitions=lambda: KINDS)


async def test_a_controller_that_has_just_been_started_cleans_up_behind_itself(
    tmp_path: Path,
) -> None:
    """As after a restart of the cluster: it does nothing before it has seen all of its kinds."""
    async with LocalCluster() as cluster:
        client = cluster.client
        await installing.enable(client, POST, POST.settings())
        meta = ObjectMeta(name="one", namespace="default", finalizers=[LetterReconciler.finalizer])
        await client.create(Letter(metadata=meta))

        async def is_going() -> bool:
            return bool((await client.get(Letter, "one", "default")).metadata.deletion_timestamp)

        async with asyncio.TaskGroup() as group:
            group.create_task(removing.disable(client, POST))
            await cluster.eventually(is_going)
            host = cluster.client_as(installing.HOST)
            Host(host, {"post": POST}, tmp_path, cluster.tasks).start()
        left = (await client.list(CustomResourceDefinition)).items
        assert [crd.spec.group for crd in left] == [types.GROUP]
