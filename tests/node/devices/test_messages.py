"""The messages of drivers have the field numbers and types that are published."""

from __future__ import annotations

from pathlib import Path

from tests.node.wire import differences, messages_of
from tiphys.node.devices import dramessages, pluginmessages

HERE = Path(__file__).parent


def test_messages_have_the_fields_of_device_plugins() -> None:
    assert differences(messages_of(pluginmessages), HERE / "pluginfields.txt") == []


def test_messages_have_the_fields_of_dynamic_resource_allocation() -> None:
    assert differences(messages_of(dramessages), HERE / "drafields.txt") == []
