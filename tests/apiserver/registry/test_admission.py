"""The chain of plugins: who is asked about what, how often, and what is counted of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.builders import config_map, pod
from tiphys.api.base import Struct
from tiphys.api.catalog import resource_of
from tiphys.apiserver.registry.admission import Admission, Attributes, Base
from tiphys.apiserver.registry.admissionmetrics import AdmissionMetrics
from tiphys.machinery import errors
from tiphys.machinery.errors import StatusError

SECONDS = "apiserver_admission_controller_admission_duration_seconds"


class Changing(Base):
    """Changes pods, once, and keeps what it was shown."""

    resources = frozenset(("pods",))

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    async def mutate(self, attributes: Attributes) -> None:
        self.seen.append((attributes.operation, attributes.second))
        attributes.changed = True


class Judging(Base):
    """Refuses what is named "bad"."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def validate(self, attributes: Attributes) -> None:
        self.seen.append(attributes.name)
        if attributes.name == "bad":
            raise errors.forbidden("pods", attributes.name, "it is bad")


def of(obj: Struct, name: str = "a", operation: str = "CREATE") -> Attributes:
    resource: Any = resource_of(type(obj))
    user: Any = None
    return Attributes(resource, operation, "default", name, obj, None, user)


def chain(*plugins: Any) -> tuple[Admission, CollectorRegistry]:
    registry = CollectorRegistry()
    made = Admission(list(plugins))
    made.count_in(AdmissionMetrics(registry))
    return made, registry


def counted(registry: CollectorRegistry, name: str, suffix: str = "_count", **labels: str) -> Any:
    found = {"name": name, "operation": "CREATE", "rejected": "false", **labels}
    return registry.get_sample_value(SECONDS + suffix, found)


async def test_a_plugin_is_asked_about_its_resources_in_its_own_way() -> None:
    changing, judging = Changing(), Judging()
    admission, _ = chain(changing, judging)
    for attributes in (of(pod("a")), of(config_map("b"), "b")):
        await admission.mutate(attributes)
        await admission.validate(attributes)
    assert changing.seen == [("CREATE", False), ("CREATE", True)]
    assert judging.seen == ["a", "b"]


async def test_nobody_is_asked_again_when_nothing_changed() -> None:
    changing = Changing()
    admission, _ = chain(changing)
    await admission.mutate(of(config_map("a")))
    assert changing.seen == []


async def test_every_call_is_counted_under_its_plugin() -> None:
    admission, registry = chain(Changing(), Judging())
    for _ in range(3):
        await admission.mutate(of(pod("a")))
        await admission.validate(of(pod("a")))
    assert counted(registry, "Changing", type="admit") == 6  # each change is shown once more
    assert counted(registry, "Judging", type="validate") == 3
    assert counted(registry, "Judging", type="admit") is None


async def test_a_refusal_is_counted_as_one() -> None:
    admission, registry = chain(Judging())
    with pytest.raises(StatusError, match="it is bad"):
        await admission.validate(of(pod("bad"), "bad"))
    assert counted(registry, "Judging", type="validate", rejected="true") == 1
    assert counted(registry, "Judging", type="validate") in (None, 0)


async def test_what_a_slow_plugin_takes_is_in_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter((0.0, 0.001, 0.001, 1.0, 1.05, 1.05))  # a quick call and a slow one
    monkeypatch.setattr(time, "perf_counter", lambda: next(moments))
    admission, registry = chain(Judging())
    await admission.validate(of(pod("a")))
    await admission.validate(of(pod("a")))
    labels = {"type": "validate", "suffix": "_bucket"}
    buckets = [counted(registry, "Judging", le=le, **labels) for le in ("0.005", "0.025", "0.1")]
    assert buckets == [1, 1, 2]
    total = counted(registry, "Judging", type="validate", suffix="_sum")
    assert total == pytest.approx(0.051)
