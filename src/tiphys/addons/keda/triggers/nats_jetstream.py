"""nats-jetstream: what a consumer of a stream has not acknowledged, by the server's monitoring
endpoint. In a cluster the consumer's leader knows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from tiphys.addons.keda.asking import HttpScaler, decoded
from tiphys.addons.keda.dialing import host_port
from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import ScalerError, scaler
from tiphys.machinery.addresses import authority


@scaler("nats-jetstream", words="NATS JetStream")
class NatsJetStream(HttpScaler):
    account: str = parameter(places="auth metadata", optional=True)
    account_id: str = parameter("accountID", places="auth metadata", optional=True)
    stream: str = parameter()
    consumer: str = parameter()
    lag_threshold: int = parameter(default="10")
    activation_lag_threshold: int = parameter(default="0")
    use_https: bool = parameter("useHttps", default="false")
    endpoint: str = parameter("natsServerMonitoringEndpoint", places="auth metadata")

    def check(self) -> None:
        super().check()
        if not self.account and not self.account_id:
            raise ParameterError("no account name or id given")

    def name(self) -> str:
        return f"nats-jetstream-{self.stream}"

    def target(self) -> float:
        return self.lag_threshold

    def activation(self) -> float:
        return self.activation_lag_threshold

    async def measure(self) -> float:
        answer = await self._ask(self.endpoint, "/jsz")
        consumer = self._consumer(answer)
        if (answer.get("meta_cluster") or {}).get("cluster_size", 0) > 1:
            consumer = await self._of_leader()
        if consumer is None:
            raise ScalerError(f'consumer "{self.consumer}" not found in stream "{self.stream}"')
        return float(consumer.get("num_pending", 0) + consumer.get("num_ack_pending", 0))

    async def _of_leader(self) -> dict[str, Any] | None:
        """The answer of the consumer's leader, which is one of the cluster's nodes."""
        server = await self._ask(self.endpoint, "/varz")
        nodes = server.get("connect_urls") or (server.get("cluster") or {}).get("urls") or []
        _, port = host_port(self.endpoint, 8222)
        for node in nodes:
            where = authority(str(node).rpartition(":")[0].strip("[]"), port)
            name = (await self._ask(where, "/varz")).get("server_name")
            consumer = self._consumer(await self._ask(where, "/jsz"))
            if consumer is not None and (consumer.get("cluster") or {}).get("leader") == name:
                return consumer
        raise ScalerError(f"leader node not found for consumer {self.consumer}")

    async def _ask(self, where: str, path: str) -> dict[str, Any]:
        scheme = "https" if self.use_https else "http"
        query = urlencode(
            {"acc": self.account_id or self.account, "consumers": "true", "config": "true"}
        )
        status, body = await self.get(f"{scheme}://{where}{path}?{query}")
        answer = decoded(body)
        if status != 200 or not isinstance(answer, dict):
            raise ScalerError(f"{path}: api returned {status}")
        return answer

    def _consumer(self, answer: dict[str, Any]) -> dict[str, Any] | None:
        for stream in self._streams(answer):
            if stream.get("name") == self.stream:
                for detail in stream.get("consumer_detail") or ():
                    if detail.get("name") == self.consumer:
                        return dict(detail)
        return None

    def _streams(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for account in answer.get("account_details") or ():
            if self.account_id == account.get("id") or self.account == account.get("name"):
                yield from account.get("stream_detail") or ()
