"""A real S3: SeaweedFS from PyPI, on the loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tiphys.addons.inference.loading import Bucket
from tiphys.testing.cluster import free_port

KEY, SECRET = "AKIDMODELS", "not-a-secret-of-anybody"
_STARTING = 60.0  # seconds
_GRPC = 10000  # what weed adds to a port for another one


def program() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def _port() -> int:
    while (port := free_port()) + _GRPC > 65535:
        pass
    return port


@contextmanager
def storage(root: Path) -> Iterator[Bucket]:
    """With the bucket `models`, which its one user alone may read."""
    weed = program()
    assert weed is not None
    port = _port()
    users = {
        "identities": [
            {
                "name": "models",
                "actions": ["Admin"],
                "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            }
        ]
    }
    (root / "s3.json").write_text(json.dumps(users))
    (root / "data").mkdir()
    command = [
        weed,
        "server",
        f"-dir={root / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-master.port={_port()}",
        f"-volume.port={_port()}",
        f"-filer.port={_port()}",
        "-s3",
        f"-s3.port={port}",
        "-s3.port.iceberg=0",
        f"-s3.config={root / 's3.json'}",
        "-master.volumeSizeLimitMB=64",
    ]
    with (root / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        bucket = Bucket(f"http://127.0.0.1:{port}", "models", "us-west-2", KEY, SECRET)
        _create(bucket)
        yield bucket
    finally:
        process.kill()
        process.wait()


def _create(bucket: Bucket) -> None:
    deadline = time.monotonic() + _STARTING
    while True:
        try:
            urllib.request.urlopen(bucket.request("PUT", ""), timeout=5).close()
            bucket.put("probe", b"there is a volume to write to")
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
