"""kafka and apache-kafka: how far a group of consumers is behind what was produced."""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Any

from tiphys.addons.keda.asking import tls_context
from tiphys.addons.keda.dialing import host_port, needed, place_of
from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import Measured, Scaler, ScalerError, scaler
from tiphys.machinery.addresses import authority

_NONE = -1  # the offset of a group that has committed none
_MECHANISMS = {
    "plaintext": "PLAIN",
    "scram_sha256": "SCRAM-SHA-256",
    "scram_sha512": "SCRAM-SHA-512",
}
_BOTH = "metadata auth"
Partition = tuple[str, int]


@scaler("kafka", "apache-kafka", words="kafka")
class Kafka(Scaler):
    bootstrap_servers: list[str] = parameter(places="metadata env")
    consumer_group: str = parameter(places="metadata env")
    topic: list[str] = parameter(places="metadata env", optional=True)
    partition_limitation: list[int] = parameter(optional=True, range_separator="-")
    lag_threshold: int = parameter(default="10")
    activation_lag_threshold: int = parameter(default="0")
    offset_reset_policy: str = parameter(default="latest", enum="earliest latest")
    allow_idle_consumers: bool = parameter(optional=True)
    exclude_persistent_lag: bool = parameter(optional=True)
    zero_on_invalid: bool = parameter("scaleToZeroOnInvalidOffset", optional=True)
    limit_to_partitions_with_lag: bool = parameter(optional=True)
    even_distribution: bool = parameter("ensureEvenDistributionOfPartitions", optional=True)
    sasl: str = parameter(
        places=_BOTH,
        default="none",
        enum="none plaintext scram_sha256 scram_sha512 oauthbearer gssapi aws_msk_iam",
    )
    username: str = parameter(places="auth", optional=True)
    password: str = parameter(places="auth", optional=True)
    tls: str = parameter(places=_BOTH, default="disable", enum="enable disable")
    cert: str = parameter(places="auth", optional=True)
    key: str = parameter(places="auth", optional=True)
    key_password: str = parameter(places="auth", optional=True)
    ca: str = parameter(places="auth", optional=True)
    unsafe_ssl: bool = parameter("unsafeSsl", optional=True)

    _clients: tuple[Any, Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._before: dict[Partition, int] = {}

    def check(self) -> None:
        if self.lag_threshold <= 0:
            raise ParameterError("lagThreshold must be a positive number")
        if self.activation_lag_threshold < 0:
            raise ParameterError("activationLagThreshold must be a positive number")
        if self.allow_idle_consumers and self.limit_to_partitions_with_lag:
            raise ParameterError(
                "allowIdleConsumers and limitToPartitionsWithLag cannot be set simultaneously"
            )
        if not self.topic and self.limit_to_partitions_with_lag:
            raise ParameterError("topic must be specified when using limitToPartitionsWithLag")
        if self.tls == "enable" and bool(self.cert) != bool(self.key):
            raise ParameterError("can't set only one of cert or key when using TLS")
        if self.sasl in _MECHANISMS and not (self.username and self.password):
            raise ParameterError("username and password must be set when using SASL/PLAINTEXT")
        if self.sasl not in ("none", *_MECHANISMS):
            raise ParameterError(
                f"sasl {self.sasl} is not supported; it is one of none, {', '.join(_MECHANISMS)}"
            )

    def name(self) -> str:
        return f"kafka-{','.join(self.topic) or f'{self.consumer_group}-topics'}"

    def target(self) -> float:
        return self.lag_threshold

    async def look(self, metric: str) -> Measured:
        kafka = needed("aiokafka", self.type)
        try:
            async with asyncio.timeout(self.config.surroundings.timeout * 2):
                produced, consumed = await self._offsets()
        except TimeoutError:
            await self.close()
            raise ScalerError("kafka: i/o timeout") from None
        except (kafka.errors.KafkaError, OSError) as error:
            await self.close()
            reason = str(error) or type(error).__name__
            raise ScalerError(f"error getting metadata: {reason}") from None
        lags = {one: self._lag(one, produced[one], consumed.get(one, _NONE)) for one in produced}
        counted = [lag for lag, _ in lags.values()]
        with_persistent = sum(lag for _, lag in lags.values())
        return Measured(
            float(self._bounded(counted)), with_persistent > self.activation_lag_threshold
        )

    # --- offsets ---

    async def _offsets(self) -> tuple[dict[Partition, int], dict[Partition, int]]:
        """The newest of each partition, and the group's."""
        admin, consumer = await self._connected()
        structs = needed("aiokafka.structs", self.type)
        topics = self.topic
        if not topics:
            committed = await admin.list_consumer_group_offsets(self.consumer_group)
            topics = sorted({one.topic for one in committed})
        wanted = [structs.TopicPartition(*one) for one in await self._partitions(admin, topics)]
        offsets = await admin.list_consumer_group_offsets(self.consumer_group, partitions=wanted)
        newest = await consumer.end_offsets(wanted)
        consumed = {(one.topic, one.partition): row.offset for one, row in offsets.items()}
        return {(one.topic, one.partition): offset for one, offset in newest.items()}, consumed

    async def _partitions(self, client: Any, topics: list[str]) -> list[Partition]:
        if not topics:
            raise ScalerError(f"no active members in group {self.consumer_group}")
        only = self.partition_limitation if self.topic else []
        partitions = []
        for row in await client.describe_topics(topics):
            if row["error_code"]:
                raise ScalerError(f"error finding partition offset for topic {row['topic']}")
            for part in row["partitions"]:
                if not only or part["partition"] in only:
                    partitions.append((row["topic"], part["partition"]))
        return partitions

    async def _connected(self) -> tuple[Any, Any]:
        """One that knows groups, and one that knows offsets."""
        if self._clients is None:
            options = await self._arguments()
            admin = needed("aiokafka.admin", self.type).AIOKafkaAdminClient(**options)
            consumer = needed("aiokafka", self.type).AIOKafkaConsumer(**options)
            try:
                await admin.start()
                for broker in admin._client.cluster.brokers():  # before anything connects there
                    await place_of(self.config, broker.host, broker.port)
                await consumer.start()
            except BaseException:
                await admin.close()
                await consumer.stop()
                raise
            self._clients = admin, consumer
        return self._clients

    async def _arguments(self) -> dict[str, Any]:
        context = self._tls()
        security = "SSL" if context is not None else "PLAINTEXT"
        options: dict[str, Any] = {
            "bootstrap_servers": [await self._place(one) for one in self.bootstrap_servers],
            "ssl_context": context,
            "security_protocol": security,
            "request_timeout_ms": int(self.config.surroundings.timeout * 1000),
        }
        if self.sasl in _MECHANISMS:
            options |= {
                "security_protocol": f"SASL_{security}",
                "sasl_mechanism": _MECHANISMS[self.sasl],
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def _tls(self) -> ssl.SSLContext | None:
        if self.tls != "enable":
            return None
        return tls_context(
            self.ca, self.cert, self.key, password=self.key_password, unsafe=self.unsafe_ssl
        )

    async def _place(self, server: str) -> str:
        """Where a server is. With TLS its name is kept, by which its certificate is judged."""
        host, port = host_port(server, 9092)
        place = await place_of(self.config, host, port)
        return server if self.tls == "enable" else authority(place.host, place.port)

    # --- lag ---

    def _lag(self, partition: Partition, produced: int, consumed: int) -> tuple[int, int]:
        """What counts, and what there is: a partition whose offset does not move may be left
        out."""
        if consumed == _NONE:
            if self.zero_on_invalid:
                return 0, 0
            lag = 1 if self.offset_reset_policy == "latest" else produced
            return lag, lag
        lag = produced - consumed
        if self.exclude_persistent_lag:
            if self._before.get(partition) == consumed:
                return 0, lag
            self._before[partition] = consumed
        return lag, lag

    def _bounded(self, lags: list[int]) -> int:
        """No more than there are partitions to consume: a consumer beyond that would idle."""
        total = sum(lags)
        if self.allow_idle_consumers and not self.even_distribution:
            return total
        most = len(lags)
        if self.even_distribution:
            total = next_factor(total, most, self.lag_threshold) * self.lag_threshold
        if self.limit_to_partitions_with_lag:
            most = sum(lag > 0 for lag in lags)
        return most * self.lag_threshold if total // self.lag_threshold > most else total

    async def close(self) -> None:
        clients = self._clients
        self._clients = None
        if clients is not None:
            await clients[0].close()
            await clients[1].stop()


def next_factor(lag: int, partitions: int, threshold: int) -> int:
    """The least number of consumers that divides the partitions evenly and is enough for the
    lag."""
    wanted = math.ceil(lag / threshold)
    for count in range(1, partitions + 1):
        if partitions % count == 0 and count >= wanted:
            return count
    return partitions
