"""A server whose store is encrypted, and what is in its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.store.configurations import document
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.errors import StatusError
from tiphys.store.sqlite import read_current
from tiphys.testing import LocalCluster

PLAIN = "open-sesame"


def secret(name: str = "s") -> core_v1.Secret:
    return core_v1.Secret(metadata=ObjectMeta(name=name), string_data={"password": PLAIN})


def running(
    root: Path, *providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)
) -> LocalCluster:
    """A server on SQLite with these providers."""
    file = root / "encryption.yaml"
    file.write_text(document(*providers, resources=resources))
    return LocalCluster(store="sqlite", root=root, encryption_config=file)


def files_of(root: Path) -> bytes:
    """Everything that SQLite has written, the log of what it has yet to write included."""
    return b"".join(path.read_bytes() for path in sorted(root.glob("state.db*")))


def stored(root: Path, name: str = "s") -> bytes:
    rows = {row.key: row.value for row in read_current(root / "state.db")}
    return rows[f"/core/secrets/default/{name}"] or b""


@contextmanager
def refused(code: int) -> Iterator[pytest.ExceptionInfo[StatusError]]:
    with pytest.raises(StatusError) as info:
        yield info
    assert info.value.code == code
