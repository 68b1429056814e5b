"""What a sidecar's Envoy is started with."""

from __future__ import annotations

import json

from tiphys.addons.mesh.bootstrap import TOKEN, bootstrap


def test_a_sidecar_knows_its_mesh_and_notices_within_forty_seconds_that_it_is_gone() -> None:
    first = json.loads(bootstrap("mesh:1", "root"))
    (service,) = first["dynamic_resources"]["ads_config"]["grpc_services"]
    grpc = service["google_grpc"]
    assert grpc["target_uri"] == "mesh:1"
    assert grpc["channel_credentials"]["ssl_credentials"]["root_certs"]["inline_string"] == "root"
    config = grpc["call_credentials"][0]["from_plugin"]["typed_config"]
    assert (config["secret_data"]["filename"], config["header_prefix"]) == (TOKEN, "Bearer ")
    limits = grpc["channel_args"]["args"]
    assert {name: limit["int_value"] for name, limit in limits.items()} == {
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        "grpc.max_reconnect_backoff_ms": 10_000,
    }


def test_nobody_else_reaches_its_administration() -> None:
    first = json.loads(bootstrap("mesh:1", "root"))
    assert first["admin"]["address"]["pipe"]["mode"] == 0o600
    (metrics,) = first["static_resources"]["listeners"]
    manager = metrics["filter_chains"][0]["filters"][0]["typed_config"]
    (page,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert page["match"]["path"] == "/metrics"
    assert page["match"]["headers"][0]["string_match"] == {"exact": "GET"}
