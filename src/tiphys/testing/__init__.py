"""What users' tests import: a whole cluster inside the test's own process, on hollow nodes.

async with LocalCluster() as cluster:
    await cluster.client.create(...)
"""

from tiphys.testing.cluster import LocalCluster

__all__ = ["LocalCluster"]
