"""The custom resource of the echo add-on."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from tiphys.addons.echo import GROUP
from tiphys.api.base import Struct, always
from tiphys.api.meta_v1 import Object
from tiphys.operator import Column, custom_resource


class EchoSpec(Struct):
    text: Annotated[str, Meta(min_length=1, max_length=1000, description="What to say.")]


class EchoStatus(Struct):
    said: Annotated[str, Meta(description="What the ConfigMap of the same name holds.")] = ""
    observed_generation: int = 0


@custom_resource(GROUP, plural="echoes", columns=(Column("Said", ".status.said"),))
class Echo(Object):
    """Something to say in a ConfigMap of the same name."""

    api_version: str = always(f"{GROUP}/v1")
    kind: str = always("Echo")
    spec: EchoSpec = field(default_factory=lambda: EchoSpec(text=""))
    status: EchoStatus = field(default_factory=EchoStatus)
