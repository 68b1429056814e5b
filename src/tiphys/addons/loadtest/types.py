"""The custom resource of load tests."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.addons.loadtest import GROUP
from tiphys.api import core_v1
from tiphys.api.base import F, Int64, Struct, Time, always
from tiphys.api.meta_v1 import Condition, Object
from tiphys.operator import Column, Rule, custom_resource

VERSION = f"{GROUP}/v1alpha1"
Name = Annotated[str, Meta(min_length=1, max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Url = Annotated[str, Meta(max_length=2048, pattern="^https?://")]
Minutes = Annotated[float, Meta(ge=0, le=1440)]
Phase = Literal[
    "Cloning", "Scaling", "Loading", "ScalingDown", "Cleaning", "Completed", "Failed", "Refused"
]


class Application(Struct):
    """A part of the system: a Deployment of the test's namespace, or a local service of the machine
    that the add-on runs on. `replicas` is how many it has during the test; by default as many as in
    production if versions come from there, else as many as it has."""

    name: Name
    substrate: Literal["Deployment", "Process"] = "Deployment"
    replicas: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    resources: Annotated[
        core_v1.ResourceRequirements | None,
        Meta(description="Of its first container during the test; by default as they are."),
    ] = None


class Production(Struct):
    """Where versions and replicas are copied from: a Secret of the test's namespace with a
    kubeconfig under `key`, whose certificates or token are in it."""

    secret_name: Name
    key: str = "kubeconfig"
    namespace: str = ""


class Place(Struct):
    """A URL, or every ready pod behind a Service of the test's namespace: `portName` is that of the
    Service's port, where it has several."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.url) != has(self.service)", message="either url or service"),
    )
    url: Url | None = None
    service: Name | None = None
    port_name: str = ""
    path: Annotated[str, Meta(pattern="^/", max_length=1024)] = "/"


class Orders(Place):
    """What the system itself counts: a counter of a page in Prometheus's format, all its series
    added up. What the generator believes to have ordered is not used."""

    rules: ClassVar[tuple[Rule, ...]] = Place.rules
    path: Annotated[str, Meta(pattern="^/", max_length=1024)] = "/metrics"
    metric: Annotated[str, Meta(pattern="^[a-zA-Z_:][a-zA-Z0-9_:]*$")] = "orders_total"


class Generator(Struct):
    """Locust, in a pod or as a process of the machine. `locustfile` is a ConfigMap with the key
    locustfile.py, or for a process a file of the add-on's folder. `workers` are processes of its
    own in which users live; 0: one process for all."""

    locustfile: Annotated[str, Meta(min_length=1, max_length=253)]
    host: Url
    substrate: Literal["Pod", "Process"] = "Pod"
    initial_users: Annotated[int, Meta(ge=1, le=1_000_000)] = 10
    max_users: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    workers: Annotated[int, Meta(ge=0, le=64)] = 0
    resources: core_v1.ResourceRequirements | None = None


class Cleanup(Place):
    """A request that takes the test's data out of the system. Any answer of 2xx or 404 will do."""

    rules: ClassVar[tuple[Rule, ...]] = Place.rules
    method: Literal["DELETE", "POST"] = "DELETE"


class Pools(Struct):
    """Labels of the nodes for the load, and of those for the system. Neither has a pod of the
    other."""

    load: dict[str, str] = {}
    system: dict[str, str] = {}


class LoadTestSpec(Struct):
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.useProductionVersions) || !self.useProductionVersions || "
            "has(self.production)",
            message="useProductionVersions needs production",
        ),
        Rule("self == oldSelf", message="a load test does not change: make another one"),
    )
    target_orders_per_minute: Annotated[int, Meta(ge=1, le=10_000_000)]
    applications: Annotated[
        list[Application],
        Meta(min_length=1, max_length=64),
        F(0, list="map", keys=("name",)),
    ]
    orders: Orders
    generator: Generator
    ramp_up_minutes: Minutes = 0
    plateau_minutes: Annotated[float, Meta(gt=0, le=1440)] = 10
    use_production_versions: bool = False
    production: Production | None = None
    pools: Pools | None = None
    cleanup: Annotated[list[Cleanup], Meta(max_length=16), F(0, list="atomic")] = []
    period_seconds: Annotated[
        float, Meta(ge=1, le=600, description="After which the number of users is thought over.")
    ] = 60
    ready_timeout_minutes: Annotated[float, Meta(gt=0, le=120)] = 15


class Sample(Struct):
    """What was measured with so many users, and what was wanted at that time."""

    time: Time
    users: int
    target: float
    orders_per_minute: float


class Reading(Struct):
    """What the counters said at a time (seconds since the epoch), by their pages."""

    seconds: float
    orders: dict[str, float]


class LoadTestStatus(Struct):
    phase: Phase | None = None
    started_at: Annotated[float, Meta(description="Seconds since the epoch.")] = 0
    phase_started_at: float = 0
    users: int = 0
    orders_per_minute: float = 0
    deviation_percent: float = 0
    samples: Annotated[list[Sample], F(0, list="atomic")] = []
    changed_at: Annotated[float, Meta(description="When users were last thought over.")] = 0
    reading: Reading | None = None
    failure: str = ""
    observed_generation: Int64 = 0
    conditions: Annotated[list[Condition], F(0, list="map", keys=("type",))] = []


def nothing() -> LoadTestSpec:
    return LoadTestSpec(
        target_orders_per_minute=1,
        applications=[],
        orders=Orders(),
        generator=Generator(locustfile="", host=""),
    )


@custom_resource(
    GROUP,
    "v1alpha1",
    columns=(
        Column("Phase", ".status.phase"),
        Column("Target", ".spec.targetOrdersPerMinute", "integer"),
        Column("Measured", ".status.ordersPerMinute", "number"),
        Column("Users", ".status.users", "integer"),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
class LoadTest(Object):
    """So many orders a minute, for so long, and all as before."""

    api_version: str = always(VERSION)
    kind: str = always("LoadTest")
    spec: LoadTestSpec = field(default_factory=nothing)
    status: LoadTestStatus = field(default_factory=LoadTestStatus)
