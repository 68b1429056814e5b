"""Files that the node makes for containers."""

from __future__ import annotations

from pathlib import Path

from tiphys.node.volumes.podfiles import make_termination_log, termination_message


def test_any_user_may_write_a_termination_message_and_nothing_else_there(tmp_path: Path) -> None:
    log = make_termination_log(tmp_path / "pod", "c", 2)
    assert log.name == "2" and log.stat().st_mode & 0o777 == 0o666
    assert log.parent.stat().st_mode & 0o777 == 0o755
    log.write_text("out of luck")
    assert termination_message(tmp_path / "pod", "c", 2) == "out of luck"
    assert termination_message(tmp_path / "pod", "c", 1) == ""
