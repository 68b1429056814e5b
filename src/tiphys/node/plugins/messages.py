"""The messages by which a plugin introduces itself (package pluginregistration, v1).
`tests/node/plugins/test_messages.py` compares them with the published ones."""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Struct


class InfoRequest(Struct):
    pass


class PluginInfo(Struct):
    type: Annotated[str, F(1)] = ""
    name: Annotated[str, F(2)] = ""
    endpoint: Annotated[str, F(3)] = ""
    supported_versions: Annotated[list[str], F(4)] = []


class RegistrationStatus(Struct):
    plugin_registered: Annotated[bool, F(1)] = False
    error: Annotated[str, F(2)] = ""


class RegistrationStatusResponse(Struct):
    pass
