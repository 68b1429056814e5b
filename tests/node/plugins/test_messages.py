"""The messages of plugins have the field numbers and types that are published."""

from __future__ import annotations

from pathlib import Path

from tests.node.wire import differences, messages_of
from tiphys.node.plugins import messages


def test_messages_have_the_fields_of_plugin_registration() -> None:
    assert differences(messages_of(messages), Path(__file__).parent / "fields.txt") == []
