"""Brings the weights of a model from S3 or from a model hub into a folder: the program of the init
container of every pod, with the standard library alone.

As a program it is configured by its environment: MODEL_SOURCE (s3, huggingface), MODEL_TARGET,
and for S3 S3_ENDPOINT, S3_BUCKET, S3_PREFIX, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
for a hub HF_ENDPOINT, HF_MODEL, HF_REVISION, HF_TOKEN. Source of the signature: AWS Signature
Version 4.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import json
import os
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_ATTEMPTS = 5
_FIRST_PAUSE = 0.5  # seconds before the second attempt; doubled each time
_TIMEOUT = 60.0
_CHUNK = 1 << 20
_EMPTY = hashlib.sha256(b"").hexdigest()


class LoadError(RuntimeError):
    """The text names what is not available, and why."""


@dataclass(frozen=True)
class Bucket:
    """`endpoint` is a URL; without a `key` requests are not signed."""

    endpoint: str
    name: str
    region: str = "us-east-1"
    key: str = ""
    secret: str = ""

    def request(
        self, method: str, path: str, query: dict[str, str] | None = None, body: bytes = b""
    ) -> urllib.request.Request:
        """`path` is the key of an object, or empty for the bucket."""
        quoted = urllib.parse.quote(f"/{self.name}/{path}" if path else f"/{self.name}")
        listed = sorted((query or {}).items())
        text = urllib.parse.urlencode(listed, quote_via=urllib.parse.quote)
        url = self.endpoint.rstrip("/") + quoted + (f"?{text}" if text else "")
        request = urllib.request.Request(url, data=body or None, method=method)
        if self.key:
            host = urllib.parse.urlsplit(url).netloc
            now = datetime.datetime.now(datetime.UTC)
            for name, value in self.signed(method, quoted, text, host, body, now).items():
                request.add_header(name, value)
        return request

    def signed(
        self, method: str, path: str, query: str, host: str, body: bytes, now: datetime.datetime
    ) -> dict[str, str]:
        """The headers of AWS Signature Version 4."""
        digest = hashlib.sha256(body).hexdigest() if body else _EMPTY
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = "\n".join((method, path, query, lines, names, digest))
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashed))
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        credential = f"Credential={self.key}/{scope}"
        authorization = (
            f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        )
        shown = {name: value for name, value in headers.items() if name != "host"}
        return {**shown, "Authorization": authorization}

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Every object below a prefix, with its size in bytes. Raises LoadError."""
        token = ""
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            tree = ElementTree.fromstring(_read(lambda: self.request("GET", "", query)))  # noqa: B023
            for entry in tree.iter():
                if entry.tag.endswith("}Contents") or entry.tag == "Contents":
                    fields = {child.tag.rpartition("}")[2]: child.text or "" for child in entry}
                    yield fields["Key"], int(fields["Size"])
            token = _text(tree, "NextContinuationToken")
            if not token:
                return

    def put(self, key: str, body: bytes) -> None:
        """Raises LoadError."""
        _read(lambda: self.request("PUT", key, body=body))


def _text(tree: ElementTree.Element, name: str) -> str:
    return next((one.text or "" for one in tree if one.tag.rpartition("}")[2] == name), "")


# --- requests ---

_FAULTS = (OSError, http.client.HTTPException)


def _attempts(description: str, work: Callable[[], None]) -> None:
    """Tries a few times what may be better a moment later. Raises LoadError."""
    pause = _FIRST_PAUSE
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return work()
        except urllib.error.HTTPError as error:
            number = error.getcode() or 0
            reason = f"{number} {error.reason}"
            if number < 500 and number != 429:
                raise LoadError(f"{description}: {reason}") from None
        except _FAULTS as error:
            reason = str(getattr(error, "reason", error))
        if attempt == _ATTEMPTS:
            raise LoadError(f"{description}: {reason} (tried {attempt} times)")
        time.sleep(pause)
        pause *= 2


def _read(request: Callable[[], urllib.request.Request]) -> bytes:
    content = b""

    def once() -> None:
        nonlocal content
        with urllib.request.urlopen(request(), timeout=_TIMEOUT) as answer:
            content = answer.read()

    _attempts(request().full_url, once)
    return content


def _save(request: Callable[[], urllib.request.Request], path: str, size: int | None) -> int:
    """Writes a body to a file, which is there when it is whole. Returns its bytes. Raises
    LoadError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = path + ".partial"

    def once() -> None:
        with (
            urllib.request.urlopen(request(), timeout=_TIMEOUT) as answer,
            open(partial, "wb") as file,
        ):
            shutil.copyfileobj(answer, file, _CHUNK)
        if size is not None and os.path.getsize(partial) != size:
            raise OSError(f"{os.path.getsize(partial)} bytes came of {size}")

    _attempts(request().full_url, once)
    os.replace(partial, path)
    return os.path.getsize(path)


def _inside(target: str, name: str) -> str:
    """Where a file of that name goes. Raises LoadError for one that would be elsewhere."""
    root = os.path.realpath(target)
    path = os.path.realpath(os.path.join(root, name))
    if os.path.commonpath((root, path)) != root or path == root:
        raise LoadError(f"{name} would be outside of {target}")
    return path


# --- the sources ---


def load_from_s3(bucket: Bucket, prefix: str, target: str) -> int:
    """Every object below the prefix, by its name after it. Returns the bytes. Raises LoadError."""
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    total = 0
    for key, size in bucket.keys(prefix):
        name = key[len(prefix) :]
        if not name or name.endswith("/"):
            continue
        path = _inside(target, name)
        total += _save(lambda key=key: bucket.request("GET", key), path, size)  # type: ignore[misc]
        print(f"{name}: {size} bytes", flush=True)
    if not total:
        raise LoadError(f"s3://{bucket.name}/{prefix} has no objects")
    return total


def load_from_hub(endpoint: str, model: str, revision: str, token: str, target: str) -> int:
    """Every file of a model at a revision. Returns the bytes. Raises LoadError."""

    def request(path: str) -> urllib.request.Request:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return urllib.request.Request(endpoint.rstrip("/") + path, headers=headers)

    name = urllib.parse.quote(model)
    quoted_revision = urllib.parse.quote(revision or "main", safe="")
    listed = json.loads(_read(lambda: request(f"/api/models/{name}/revision/{quoted_revision}")))
    total = 0
    for entry in listed.get("siblings", ()):
        file = entry["rfilename"]
        path = f"/{name}/resolve/{quoted_revision}/{urllib.parse.quote(file)}"
        total += _save(lambda path=path: request(path), _inside(target, file), None)  # type: ignore[misc]
        print(file, flush=True)
    if not total:
        raise LoadError(f"{model} has no files at {revision or 'main'}")
    return total


def main(env: dict[str, str]) -> int:
    started = time.monotonic()
    target = env["MODEL_TARGET"]
    try:
        if env["MODEL_SOURCE"] == "huggingface":
            total = load_from_hub(
                env["HF_ENDPOINT"],
                env["HF_MODEL"],
                env.get("HF_REVISION", ""),
                env.get("HF_TOKEN", ""),
                target,
            )
        else:
            bucket = Bucket(
                env["S3_ENDPOINT"],
                env["S3_BUCKET"],
                env.get("AWS_REGION", "us-east-1"),
                env.get("AWS_ACCESS_KEY_ID", ""),
                env.get("AWS_SECRET_ACCESS_KEY", ""),
            )
            total = load_from_s3(bucket, env.get("S3_PREFIX", ""), target)
    except (LoadError, KeyError) as error:
        print(f"the model is not loaded: {error}", file=sys.stderr)
        return 1
    print(f"{total} bytes in {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
