"""What is written and waited for before a pod is bound."""

from __future__ import annotations

from tests.builders import node, pod
from tiphys.api import core_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.client.client import MERGE
from tiphys.machinery.volumes import SELECTED_NODE
from tiphys.testing import LocalCluster

Claim = core_v1.PersistentVolumeClaim


async def test_a_node_is_chosen_anew_when_the_provisioner_fails() -> None:
    async with LocalCluster(controllers=True) as cluster:
        ready = node("n")
        ready.status.conditions = [core_v1.NodeCondition(type="Ready", status="True")]
        await cluster.client.create(ready)
        mode = "WaitForFirstConsumer"
        late = {"metadata": {"name": "late"}, "provisioner": "d", "volumeBindingMode": mode}
        await cluster.client.create(from_builtins(late, storage_v1.StorageClass))
        asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        body = {"metadata": {"name": "c", "namespace": "default"}}
        claim = from_builtins({**body, "spec": {**asked, "storageClassName": "late"}}, Claim)
        await cluster.client.create(claim)
        volume = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
        await cluster.client.create(pod("p", volumes=[volume]))

        async def is_chosen() -> bool:
            found = await cluster.client.get(Claim, "c", "default")
            return found.metadata.annotations.get(SELECTED_NODE) == "n"

        await cluster.eventually(is_chosen)
        failed = {"metadata": {"annotations": {SELECTED_NODE: None}}}
        await cluster.client.patch(Claim, "c", failed, "default", media=MERGE)
        await cluster.eventually(is_chosen)

        async def is_told() -> bool:
            events = (await cluster.client.list(core_v1.Event, "default")).items
            texts = [one.message for one in events if one.reason == "FailedScheduling"]
            return any('provisioning failed for PVC "c"' in text for text in texts)

        await cluster.eventually(is_told)
