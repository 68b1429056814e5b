"""Attacks on the ways of a request that few take: scales, actions, envelopes."""

from __future__ import annotations

import json

import pytest

from tiphys.apiserver.eventloop.watchdog import LIMIT as LONGEST_HOLD
from tiphys.client.client import JSON, MERGE
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

WIDE = {f"key-of-many-{number}": "v" for number in range(100_000)}  # 2.5 MB
CONTROLLERS = "/api/v1/namespaces/default/replicationcontrollers"
EVENTS = "/api/v1/namespaces/default/events"
NEW_EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def wide(**fields: object) -> bytes:
    return json.dumps({**fields, "x": WIDE}).encode()


@pytest.mark.parametrize(
    ("method", "path", "content", "body"),
    [
        ("PATCH", f"{CONTROLLERS}/a/scale", MERGE, wide(spec=1)),
        ("PUT", f"{CONTROLLERS}/a/scale", JSON, wide(metadata={"name": "a"}, spec=1)),
        (
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
            JSON,
            wide(spec={"audiences": list(WIDE)[:20_000]}),
        ),
    ],
)
async def test_a_large_body_of_an_action_or_a_scale_does_not_hold_the_loop(
    server: LocalCluster, method: str, path: str, content: str, body: bytes
) -> None:
    template = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    controller = {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "a"},
        "spec": {"template": template},
    }
    await server.client.request("POST", CONTROLLERS, json.dumps(controller).encode())
    watchdog = server.server.server.watchdog
    watchdog.longest = 0.0
    try:
        await server.client.request(method, path, body, content=content)
    except StatusError as error:
        assert error.code in (400, 422)
    assert watchdog.longest < 2 * LONGEST_HOLD, watchdog.during


@pytest.mark.parametrize("envelope", ["0805", "0a020805", "0a030a01ff", "1005"])
async def test_a_broken_envelope_is_the_clients_fault(server: LocalCluster, envelope: str) -> None:
    body = b"k8s\x00" + bytes.fromhex(envelope)
    for method, path in (("POST", CONTROLLERS), ("DELETE", f"{CONTROLLERS}/a")):
        with pytest.raises(StatusError) as refused:
            await server.client.request(method, path, body, content=PROTOBUF)
        assert refused.value.code == 400


async def test_a_text_in_the_place_of_a_time_spoils_no_list(server: LocalCluster) -> None:
    """It was stored, and every list in protobuf was answered with 500 from then on."""
    event = {"metadata": {"name": "a"}, "involvedObject": {"namespace": "default"}}
    await server.client.request("POST", EVENTS, json.dumps(event).encode())
    for path in (EVENTS, NEW_EVENTS):
        body = {**event, "metadata": {"name": "b"}, "eventTime": "kube-system"}
        with pytest.raises(StatusError, match='parsing time "kube-system"') as refused:
            await server.client.request("POST", path, json.dumps(body).encode())
        assert refused.value.code == 400
        with pytest.raises(StatusError, match="parsing time"):
            await server.client.request("PATCH", f"{path}/a", b'{"eventTime":"x"}', content=MERGE)
