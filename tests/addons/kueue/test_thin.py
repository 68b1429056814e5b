from __future__ import annotations
import yaml
from tiphys.testing import LocalCluster
from tiphys.api import core_v1, batch_v1

SETUP = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: default-flavor}
spec: {nodeLabels: {kubernetes.io/os: linux}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: cluster-queue}
spec:
  namespaceSelector: {}
  resourceGroups:
  - coveredResources: ["cpu", "memory"]
    flavors:
    - name: default-flavor
      resources:
      - {name: cpu, nominalQuota: 3}
      - {name: memory, nominalQuota: 36Gi}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {namespace: default, name: user-queue}
spec: {clusterQueue: cluster-queue}
"""


def job(name):
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kueue.x-k8s.io/queue-name": "user-queue"},
        },
        "spec": {
            "parallelism": 3,
            "completions": 3,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [
                        {
                            "name": "a",
                            "image": "a",
                            "resources": {"requests": {"cpu": "1", "memory": "200Mi"}},
                        }
                    ],
                }
            },
        },
    }


async def test_thin():
    async with LocalCluster(nodes=2, addons=["kueue"]) as c:
        for o in yaml.safe_load_all(SETUP):
            await c.client.create(o)
        for n in "ab":
            await c.client.create(job(n))

        async def dump():
            for k in ("Workload", "ClusterQueue", "LocalQueue"):
                for o in (
                    await c.client.list({"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": k})
                ).items:
                    print(yaml.dump({"m": o["metadata"]["name"], "st": o.get("status")}))
            for o in (await c.client.list({"apiVersion": "batch/v1", "kind": "Job"})).items:
                print(
                    yaml.dump({"m": o["metadata"]["name"], "sp": o["spec"], "st": o.get("status")})
                )
            for e in (await c.client.list(core_v1.Event)).items:
                print(e.involved_object.kind, e.involved_object.name, e.reason, e.message)

        try:

            async def done():
                js = (await c.client.list(batch_v1.Job)).items
                return (
                    sum(1 for j in js if j.spec.suspend) == 1
                    and sum(j.status.active for j in js) == 3
                )

            await c.eventually(done, 15)
        finally:
            await dump()
        assert 0
