"""How an endpoint grows and shrinks over an hour, by the rules of KEDA and of the autoscaler, on a
clock of the test's own."""

from __future__ import annotations

from typing import Any

from tests.addons.inference.world import endpoint, read
from tiphys.addons.inference.scaling import Target, scaled_object
from tiphys.addons.keda import deciding
from tiphys.addons.keda.autoscalers import autoscaler
from tiphys.addons.keda.scaler import AVERAGE, external
from tiphys.addons.keda.types import ScaledObject, TargetResource
from tiphys.api.base import from_builtins
from tiphys.controllers.autoscaler import PERIOD
from tiphys.controllers.autoscaling import average_replicas, tolerance_of
from tiphys.controllers.stabilization import Record, bounded
from tiphys.machinery import timestamps

BEGIN = 1_800_000_000
KIND, VERSION = "InferenceEndpointConfig", "inference.sagemaker.aws.amazon.com/v1"
_TARGET = TargetResource(
    group=VERSION.partition("/")[0], version="v1", kind=KIND, resource="inferenceendpointconfigs"
)
_PER_REPLICA = 5


class Hour:
    """`replicas` change as its load does. What takes time in a cluster takes none here."""

    def __init__(self, **scaling: Any) -> None:
        trigger = {"query": "requests", "targetValue": _PER_REPLICA}
        asked = {"prometheusTrigger": trigger, **scaling}
        spec = read(endpoint(autoScalingSpec=asked)).spec
        assert spec.auto_scaling_spec is not None
        owner = {"apiVersion": VERSION, "kind": KIND, "name": "model", "uid": "u"}
        target = Target(VERSION, KIND, "model", {})
        made = scaled_object(owner, target, spec.auto_scaling_spec, "http://prometheus")
        self._object = from_builtins(made, ScaledObject)
        self._object.metadata.creation_timestamp = timestamps.rfc3339(BEGIN)
        metric = external("requests", AVERAGE, _PER_REPLICA)
        self._autoscaler = autoscaler(self._object, [metric], _TARGET)
        self._record = Record()
        self.polls: list[int] = []
        self.changes: list[tuple[int, int]] = []  # seconds since the beginning, replicas

    def run(self, load: dict[int, int], replicas: int = 1, seconds: int = 3600) -> None:
        """`load` is what is under way from a second on."""
        under_way = 0
        interval = self._object.spec.polling_interval
        assert interval is not None
        for second in range(seconds):
            under_way = load.get(second, under_way)
            before = replicas
            if second % interval == 0:
                self.polls.append(second)
                replicas = self._asked(under_way, replicas, BEGIN + second)
            if second % int(PERIOD) == 0 and replicas:
                replicas = self._autoscaled(under_way, replicas, BEGIN + second)
            if replicas != before:
                self.changes.append((second, replicas))

    def _asked(self, under_way: int, replicas: int, now: int) -> int:
        decision = deciding.decide(
            self._object, deciding.Seen(under_way > 0, active=("requests",)), replicas, now
        )
        if decision.was_active:
            self._object.status.last_active_time = timestamps.rfc3339(now)
        return replicas if decision.replicas is None else decision.replicas

    def _autoscaled(self, under_way: int, replicas: int, now: int) -> int:
        tolerance = tolerance_of(self._autoscaler)
        wanted = average_replicas(under_way, replicas, _PER_REPLICA, tolerance)
        self._record.note_initial(replicas, now)
        scaled = bounded(self._autoscaler, replicas, wanted, self._record, now).replicas
        if scaled != replicas:
            self._record.scaled(scaled - replicas, now)
        return scaled


def test_triggers_are_asked_every_thirty_seconds() -> None:
    hour = Hour()
    hour.run({0: 1})
    assert hour.polls == list(range(0, 3600, 30))
    assert hour.changes == []


def test_it_grows_to_five_at_once_and_shrinks_after_five_minutes() -> None:
    hour = Hour(minReplicaCount=1, maxReplicaCount=5)
    hour.run({0: 1, 600: 18, 900: 100, 1200: 1})
    assert hour.changes == [(600, 4), (900, 5), (1485, 1)], "300 seconds after the last look at 100"


def test_nothing_is_left_after_the_cooldown() -> None:
    """From the last poll at which it had something to do."""
    hour = Hour(minReplicaCount=0, cooldownPeriod=300)
    hour.run({0: 0, 600: 3, 900: 0}, replicas=0)
    first, last = hour.changes
    assert first == (600, 1)
    assert last == (1200, 0), "870 was the last poll with work; 1170 is not yet over 300 seconds"


def test_a_load_that_comes_back_in_the_cooldown_keeps_the_replica() -> None:
    hour = Hour(minReplicaCount=0, cooldownPeriod=300)
    hour.run({0: 0, 600: 3, 900: 0, 1100: 3, 1110: 0, 1140: 3, 1200: 0}, replicas=0)
    assert hour.changes == [(600, 1), (1500, 0)]
