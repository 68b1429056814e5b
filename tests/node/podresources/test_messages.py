"""The messages have the field numbers and types that are published."""

from __future__ import annotations

from pathlib import Path

from tests.node.wire import differences, messages_of
from tiphys.node.podresources import messages


def test_messages_have_the_fields_of_pod_resources() -> None:
    assert differences(messages_of(messages), Path(__file__).parent / "fields.txt") == []
