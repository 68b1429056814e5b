"""A small operator: an Echo keeps a ConfigMap with its text, as often as it says."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from tiphys.api import core_v1
from tiphys.api.base import F, Int32, Struct, always
from tiphys.api.meta_v1 import Condition, Object, ObjectMeta
from tiphys.operator import Column, Reconciler, Rule, Scale, custom_resource

GROUP = "test.tiphys.dev"


class Line(Struct):
    """A line of the answer."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.text != 'secret'", message="a line keeps no secrets"),
    )
    name: str
    text: Annotated[str, Meta(min_length=1, max_length=20, description="What is said.")] = "hello"


class EchoSpec(Struct):
    lines: Annotated[list[Line], F(1, list="map", keys=("name",)), Meta(max_length=5)] = []
    mode: Literal["Once", "Twice"] = "Once"
    replicas: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 1
    labels: dict[str, str] = {}
    port: int | str | None = None


class EchoStatus(Struct):
    replicas: Int32 = 0
    said: str = ""
    observed_generation: int = 0
    conditions: Annotated[list[Condition], F(4, list="map", keys=("type",))] = []


@custom_resource(
    GROUP,
    plural="echoes",
    short_names=("ec",),
    categories=("all",),
    columns=(Column("Said", ".status.said"),),
    rules=(Rule("self.metadata.name != 'silence'", message="it must be heard"),),
    scale=Scale(),
)
class Echo(Object):
    """Says something in a ConfigMap."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("Echo")
    spec: EchoSpec = field(default_factory=EchoSpec)
    status: EchoStatus = field(default_factory=EchoStatus)


class Echoing(Reconciler[Echo]):
    kind = Echo
    owns = (core_v1.ConfigMap,)
    finalizer = f"{GROUP}/goodbye"
    gone: ClassVar[list[str]] = []

    async def reconcile(self, obj: Echo) -> float | None:
        said = " ".join(line.text for line in obj.spec.lines)
        await self.apply(
            obj,
            core_v1.ConfigMap(
                metadata=ObjectMeta(name=obj.metadata.name, namespace=obj.metadata.namespace),
                data={"said": said},
            ),
        )
        conditions = self.condition(obj, obj.status.conditions, "Ready", bool(said), "Spoken", said)
        await self.set_status(obj, EchoStatus(said=said, conditions=conditions))
        self.event(obj, "Spoken", said)
        return None

    async def finalize(self, obj: Echo) -> float | None:
        """In two steps: it is asked again."""
        self.gone.append(obj.metadata.name)
        return 0.01 if self.gone.count(obj.metadata.name) < 2 else None
