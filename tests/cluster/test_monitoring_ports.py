"""Where the components of a cluster serve their metrics: several clusters share a machine."""

from __future__ import annotations

import pytest

from tiphys.cluster.plan import etcd_ports, monitoring_ports


def test_a_cluster_at_the_usual_port_has_upstreams_ports() -> None:
    assert monitoring_ports(6443)[:2] == (10257, 10259)


@pytest.mark.parametrize("port", [6443, 6500, 55_531, 55_533, 65_535])
def test_no_two_components_have_one_port(port: int) -> None:
    ports = [port, *etcd_ports(port), *monitoring_ports(port)]
    assert len(set(ports)) == len(ports) and max(ports) <= 65_535
