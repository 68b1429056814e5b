"""The bootstrap of gRPC's xDS clients: where the server is, and who the client is (gRFC A27)."""

from __future__ import annotations

import json
from typing import Any

from tiphys.addons.optional import NAMESPACE
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.addresses import authority

REGION = "kubernetes"


def bootstrap(address: str, port: int, zone: str = "", node_id: str = "client") -> dict[str, Any]:
    """What `GRPC_XDS_BOOTSTRAP` names a file of, or `GRPC_XDS_BOOTSTRAP_CONFIG` holds."""
    node: dict[str, Any] = {"id": node_id}
    if zone:
        node["locality"] = {"region": REGION, "zone": zone}
    return {
        "xds_servers": [
            {
                "server_uri": authority(address, port),
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": node,
    }


def config_map(address: str, port: int, zone: str) -> core_v1.ConfigMap:
    """For pods: mount it, or copy it into their namespace."""
    text = json.dumps(bootstrap(address, port, zone), indent=2)
    meta = ObjectMeta(name="xds-bootstrap", namespace=NAMESPACE)
    return core_v1.ConfigMap(metadata=meta, data={"bootstrap.json": text})
