"""Files of volumes that are made of objects."""

from __future__ import annotations

from pathlib import Path

from tiphys.node.volumes.projection import File, write_files


def test_files_change_all_at_once_and_old_ones_go(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"1"), "dir/b": File(b"2", 0o600)})
    before = (tmp_path / "..data").resolve()
    write_files(tmp_path, {"a": File(b"1"), "dir/b": File(b"2", 0o600)})
    assert (tmp_path / "..data").resolve() == before
    write_files(tmp_path, {"a": File(b"3")})
    assert (
        (tmp_path / "a").read_bytes() == b"3"
        and not (tmp_path / "dir").exists()
        and not before.exists()
    )
