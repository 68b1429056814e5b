"""What a sidecar's Envoy is started with: where the mesh is, how it is known to be the mesh, and
the token that identifies the sidecar's pod. Everything else comes over that stream."""

from __future__ import annotations

import json
from typing import Any

from tiphys.addons.mesh.ports import METRICS

FOLDER = "/run/mesh"
"""The sidecar's alone: its token, and the socket of its administration."""
TOKEN = f"{FOLDER}/token/token"
_ADMIN = f"{FOLDER}/own/admin"
_TYPE = "type.googleapis.com/envoy"
_NETWORK = f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_MOST_CONNECTIONS = 20_000


def bootstrap(server: str, root: str) -> str:
    """JSON. `server` is ``address:port`` of the xDS server, `root` the PEM of who signed for it.

    The token is read from its file for every stream: it is replaced there before it expires.
    """
    over_ads = {"ads": {}, "resource_api_version": "V3"}
    credential = {
        "name": "envoy.grpc_credentials.file_based_metadata",
        "typed_config": {
            "@type": f"{_TYPE}.config.grpc_credential.v3.FileBasedMetadataConfig",
            "secret_data": {"filename": TOKEN},
            "header_key": "authorization",
            "header_prefix": "Bearer ",
        },
    }
    grpc = {
        "target_uri": server,
        "stat_prefix": "mesh",
        "credentials_factory_name": "envoy.grpc_credentials.file_based_metadata",
        "channel_credentials": {"ssl_credentials": {"root_certs": {"inline_string": root}}},
        "call_credentials": [{"from_plugin": credential}],
        "channel_args": {
            "args": {
                "grpc.keepalive_time_ms": {"int_value": 30_000},
                "grpc.keepalive_timeout_ms": {"int_value": 10_000},
                "grpc.max_reconnect_backoff_ms": {"int_value": 10_000},
            }
        },
    }
    return json.dumps(
        {
            "admin": {"address": {"pipe": {"path": _ADMIN, "mode": 0o600}}},
            "dynamic_resources": {
                "ads_config": {
                    "api_type": "DELTA_GRPC",
                    "transport_api_version": "V3",
                    "grpc_services": [{"google_grpc": grpc}],
                },
                "cds_config": over_ads,
                "lds_config": over_ads,
            },
            "static_resources": {"clusters": [_admin_cluster()], "listeners": [_metrics()]},
            "overload_manager": {"resource_monitors": [_limit()]},
        }
    )


def _limit() -> dict[str, Any]:
    kind = f"{_TYPE}.extensions.resource_monitors.downstream_connections.v3"
    config = {
        "@type": f"{kind}.DownstreamConnectionsConfig",
        "max_active_downstream_connections": _MOST_CONNECTIONS,
    }
    name = "envoy.resource_monitors.global_downstream_max_connections"
    return {"name": name, "typed_config": config}


def _admin_cluster() -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"pipe": {"path": _ADMIN}}}}
    assignment = {"cluster_name": "admin", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": "admin", "type": "STATIC", "load_assignment": assignment}


def _metrics() -> dict[str, Any]:
    """Where Prometheus reads, and nothing else of Envoy's administration is to be had."""
    page = {
        "match": {
            "path": "/metrics",
            "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
        },
        "route": {"cluster": "admin", "prefix_rewrite": "/stats/prometheus"},
    }
    manager = {
        "@type": _NETWORK,
        "stat_prefix": "metrics",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [page]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    filter_ = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    return {
        "name": "metrics",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": METRICS}},
        "filter_chains": [{"filters": [filter_]}],
    }
