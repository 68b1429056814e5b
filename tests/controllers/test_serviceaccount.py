"""What every namespace is given."""

from __future__ import annotations

import pytest

from tests.controllers.bench import Bench
from tiphys.api.core_v1 import ConfigMap, Namespace, ServiceAccount
from tiphys.controllers.serviceaccount import CA_NAME, RootCAPublisher, ServiceAccountController

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_namespace_gets_its_account_again_when_it_is_missed(bench: Bench) -> None:
    controller = bench.start(ServiceAccountController)
    assert bench.namespace in await bench.queued(controller)
    await bench.client.delete(ServiceAccount, "default", bench.namespace)
    assert await bench.queued(controller) == [bench.namespace]
    for _ in range(2):
        await bench.step(controller, f"x/{bench.namespace}")
        assert await bench.get(ServiceAccount, "default") is not None
    with bench.unseen(ServiceAccount):
        controller._objects._objects.clear()
        await bench.step(controller, f"x/{bench.namespace}")
    assert await bench.queued(controller) == [], "a new one is most likely our own"


async def test_the_authority_is_published_and_put_right(bench: Bench) -> None:
    controller = bench.start(RootCAPublisher, ca="the CA")
    await bench.step(controller, f"x/{bench.namespace}")
    made = await bench.get(ConfigMap, CA_NAME)
    assert made is not None and made.data == {"ca.crt": "the CA"}
    assert "kubernetes.io/description" in made.metadata.annotations
    await bench.step(controller, f"x/{bench.namespace}")
    assert await bench.get(ConfigMap, CA_NAME) == made, "nothing is written again"
    await bench.queued(controller)
    await bench.change(made, data={"ca.crt": "mine", "more": "x"})
    other = ConfigMap(metadata=made.metadata.__class__(name="other"))
    other = await bench.add(other)
    await bench.change(other, data={"a": "b"})
    assert await bench.queued(controller) == [bench.namespace]
    await bench.step(controller, f"x/{bench.namespace}")
    made = await bench.get(ConfigMap, CA_NAME)
    assert made is not None and made.data == {"ca.crt": "the CA"}


async def test_a_namespace_on_its_way_out_gets_nothing(bench: Bench) -> None:
    controller = bench.start(RootCAPublisher, ca="the CA")
    await bench.client.delete(Namespace, bench.namespace)
    assert await bench.step(controller, f"x/{bench.namespace}") is None
    assert await bench.step(controller, "x/none") is None
    assert await bench.all(ConfigMap) == []
