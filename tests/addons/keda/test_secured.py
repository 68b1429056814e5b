"""Triggers whose servers want TLS, certificates of their clients, and a login."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from tests.addons.keda import servers
from tests.addons.keda.fronts import Pair, front, kafka_login, pair_of, tls
from tests.addons.keda.processes import HOST, program
from tests.addons.keda.servers import Broker
from tiphys.addons.keda import triggers
from tiphys.addons.keda.parameters import Given
from tiphys.addons.keda.scaler import Config, Measured, ScalerError, Surroundings, make
from tiphys.addons.reaching import Reach
from tiphys.testing import LocalCluster
from tiphys.testing.cluster import free_port

assert triggers
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package")]
needs_tansu = pytest.mark.skipif(program("tansu", "TANSU") is None, reason="no server for kafka")
needs_temporal = pytest.mark.skipif(
    program("temporal", "TEMPORAL") is None, reason="no server for temporal"
)


async def looked(
    cluster: LocalCluster, kind: str, metadata: dict[str, str], auth: dict[str, str]
) -> Measured:
    around = Surroundings(cluster.client, Reach(cluster.client), time.time)
    scaler = make(Config(kind, Given(metadata, auth), around, namespace="default", owner="w"))
    try:
        return await scaler.look(scaler.metric_name)
    finally:
        await scaler.close()


def client_context(cluster: LocalCluster, pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(cluster.authority.path))
    context.load_cert_chain(*pair)
    return context


MECHANISMS = [
    ("none", ""),
    ("plaintext", "PLAIN"),
    ("scram_sha256", "SCRAM-SHA-256"),
    ("scram_sha512", "SCRAM-SHA-512"),
]


WRONG = [{"password": "wrong"}, {"ca": ""}, {"cert": "", "key": ""}, {"tls": "disable"}]
"""Of what a client has said right: what it says wrong."""


@needs_tansu
@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize(("sasl", "mechanism"), MECHANISMS)
async def test_kafka_behind_tls_and_a_login(
    keda: LocalCluster, tmp_path: Path, sasl: str, mechanism: str, is_encrypted: bool
) -> None:
    port, shown = free_port(), free_port()
    pair = pair_of(keda.authority, "kafka")
    certificate, key = pair.texts
    auth: dict[str, str] = {"sasl": sasl}
    client: dict[str, Any] = {"security_protocol": "PLAINTEXT"}
    context = login = None
    if is_encrypted:
        context = tls(keda.authority, pair)
        auth |= {"tls": "enable", "cert": certificate, "key": key}
        auth["ca"] = keda.authority.path.read_text()
        client |= {"security_protocol": "SSL", "ssl_context": client_context(keda, pair)}
    if mechanism:
        login = kafka_login(mechanism, "shop", "secret")
        auth |= {"username": "shop", "password": "secret"}
        client["security_protocol"] = f"SASL_{client['security_protocol']}"
        client |= {"sasl_mechanism": mechanism, "sasl_plain_username": "shop"}
        client["sasl_plain_password"] = "secret"
    async with (
        front(shown, port, context, login),
        servers.kafka(tmp_path, Broker(port, shown, client)) as asked,
    ):
        await asked.fill(7)
        assert await looked(keda, "kafka", asked.metadata, auth) == (7, True)
        for wrong in WRONG:
            if wrong.keys() <= auth.keys():
                with pytest.raises(ScalerError):
                    await looked(keda, "kafka", asked.metadata, {**auth, **wrong})


@needs_temporal
async def test_temporal_behind_tls(keda: LocalCluster, tmp_path: Path) -> None:
    shown = free_port()
    pair = pair_of(keda.authority, "temporal")
    certificate, key = pair.texts
    root = keda.authority.path.read_text()
    auth = {"ca": root, "cert": certificate, "key": key}
    async with (
        servers.temporal(tmp_path) as asked,
        front(shown, asked.server.port, tls(keda.authority, pair)),
    ):
        await asked.fill(4)
        metadata = {**asked.metadata, "endpoint": f"{HOST}:{shown}", "enableTLS": "true"}

        async def is_seen() -> bool:
            return await looked(keda, "temporal", metadata, auth) == (4, True)

        await keda.eventually(is_seen)
        named = {**metadata, "tlsServerName": "elsewhere"}
        for asked_as, given in (
            (metadata, {**auth, "ca": ""}),
            (metadata, {"ca": root, "apiKey": "k"}),  # TLS without a certificate of its own
            (named, auth),
        ):
            with pytest.raises(ScalerError, match="code = Unavailable"):
                await looked(keda, "temporal", asked_as, given)
