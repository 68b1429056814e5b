"""The file of a backup: what goes in comes out, and what is not as it was written is noticed."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tiphys.cluster import archive
from tiphys.cluster.archive import Lock, Manifest
from tiphys.cluster.backup import version_of
from tiphys.cluster.state import ClusterError

CONTENT = b"private" * 50_000
PAIR = pyrage.x25519.Identity.generate()
KEYS = Lock(recipients=(str(PAIR.to_public()),), identities=(str(PAIR),))


def written(tmp_path: Path, lock: Lock = Lock(), **manifest: Any) -> Path:
    folder = tmp_path / "in"
    (folder / "pki").mkdir(parents=True)
    (folder / "pki" / "ca.key").write_bytes(CONTENT)
    fields: dict[str, Any] = {
        "version": "0.1.0",
        "created": "now",
        "cluster": {},
        "revision": 1,
        "objects": 2,
    }
    archive.write(tmp_path / "backup", Manifest(**fields | manifest), folder, lock)
    return tmp_path / "backup"


def read(file: Path, lock: Lock = Lock()) -> bytes:
    folder = file.parent / "out"
    folder.mkdir()
    archive.extract(file, folder, lock)
    return (folder / "pki" / "ca.key").read_bytes()


def refused(file: Path, lock: Lock = Lock()) -> str:
    with pytest.raises(ClusterError) as error:
        read(file, lock)
    return str(error.value)


def test_a_backup_is_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600 and read(file) == CONTENT
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_passphrase_opens_what_it_closed_and_age_does_too(tmp_path: Path) -> None:
    file = written(tmp_path, Lock("open sesame"))
    assert b"private" not in file.read_bytes() and read(file, Lock("open sesame")) == CONTENT
    plain = pyrage.passphrase.decrypt(file.read_bytes(), "open sesame")
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert "pki/ca.key" in tar.getnames()


def test_a_key_pair_opens_what_it_closed(tmp_path: Path) -> None:
    file = written(tmp_path, KEYS)
    assert b"private" not in file.read_bytes() and read(file, KEYS) == CONTENT


@pytest.mark.parametrize("place", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("lock", [Lock(), KEYS], ids=["plain", "encrypted"])
def test_a_changed_byte_is_noticed(tmp_path: Path, place: float, lock: Lock) -> None:
    file = written(tmp_path, lock)
    data = bytearray(file.read_bytes())
    # The header of gzip has bytes that mean nothing; the last one of the whole file is a length.
    at = max(int(place * (len(data) - 1)), 25 if lock else 12)
    data[at] ^= 0xFF
    file.write_bytes(data)
    words = refused(file, lock)
    assert "damaged" in words or "was made by" in words


def test_another_passphrase_and_none_are_told_apart(tmp_path: Path) -> None:
    file = written(tmp_path, Lock("open sesame"))
    assert "is encrypted: give its --passphrase-file or --identity" in refused(file)
    (tmp_path / "out").rmdir()
    assert "the passphrase is another one" in refused(file, Lock("wrong"))


def test_a_backup_of_a_later_format_is_refused(tmp_path: Path) -> None:
    assert "tiphys 9.0.0, which is newer" in refused(written(tmp_path, version="9.0.0", format=2))


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "pki/other"])
def test_a_member_that_the_manifest_does_not_name_is_not_written(tmp_path: Path, name: str) -> None:
    file = tmp_path / "backup"
    manifest = {
        "version": "0",
        "created": "",
        "cluster": {},
        "revision": 1,
        "objects": 1,
        "format": 1,
    }
    listed = {} if name == "pki/other" else {name: "0" * 64}
    with tarfile.open(file, "w:gz") as tar:
        for member, body in (
            ("manifest.json", json.dumps(manifest | {"files": listed}).encode()),
            (name, b"x"),
        ):
            head = tarfile.TarInfo(member)
            head.size = len(body)
            tar.addfile(head, io.BytesIO(body))
    assert "damaged" in refused(file) and not (tmp_path / "outside").exists()


def test_releases_are_compared_by_their_numbers() -> None:
    assert version_of("0.10.0") > version_of("0.9.9") and version_of("1.0.0+local") == (1, 0, 0)
