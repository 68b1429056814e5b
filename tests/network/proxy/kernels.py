"""Rules in a real kernel."""

from __future__ import annotations

from tests.network.builders import service
from tests.network.services import (
    CLUSTER_IP,
)
from tiphys.api import core_v1


def dual(**spec: object) -> core_v1.Service:
    """A service with an address of each version."""
    built = service(ip=CLUSTER_IP[4], **spec)
    built.spec.cluster_ips = [CLUSTER_IP[4], CLUSTER_IP[6]]
    return built
