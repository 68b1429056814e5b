"""Weights from a server that is a few lines of Python: pages of names, answers that fail, and what
the program prints."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tiphys.addons.inference import loading
from tiphys.addons.inference.loading import Bucket, LoadError, load_from_hub, load_from_s3, main

Answer = tuple[int, bytes]


class Server:
    """Answers each request with the first of what `answers` has for its path, the last one always;
    404 for other paths."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str, dict[str, list[str]]]] = []
        self.headers: list[Any] = []
        self.bodies: list[bytes] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                parts = urlsplit(self.path)
                server.asked.append((self.command, parts.path, parse_qs(parts.query)))
                server.headers.append(self.headers)
                length = int(self.headers.get("Content-Length") or 0)
                server.bodies.append(self.rfile.read(length))
                left = server.answers.get(parts.path, [(404, b"")])
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were slept, which take no time here."""
    slept: list[float] = []
    monkeypatch.setattr(loading.time, "sleep", slept.append)
    return slept


def page(*objects: tuple[str, int], after: str = "", namespace: bool = True) -> bytes:
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>" for key, size in objects
    )
    token = f"<NextContinuationToken>{after}</NextContinuationToken>" if after else ""
    name = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' if namespace else ""
    return f"<ListBucketResult{name}>{contents}{token}</ListBucketResult>".encode()


@pytest.mark.parametrize("namespace", [True, False])
def test_pages_of_names_and_what_stands_below_them(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], namespace: bool
) -> None:
    first = page(("m/", 0), ("m/a b", 3), ("m/sub/", 0), after="more", namespace=namespace)
    second = page(("m/sub/c", 2), namespace=namespace)
    server.answers = {
        "/models": [(200, first), (200, second)],
        "/models/m/a%20b": [(200, b"abc")],
        "/models/m/sub/c": [(200, b"de")],
    }
    assert load_from_s3(Bucket(server.url + "/", "models"), "/m/", str(tmp_path)) == 5
    assert (tmp_path / "a b").read_bytes() == b"abc"
    assert (tmp_path / "sub/c").read_bytes() == b"de"
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["a b", "c", "sub"]
    queries = [query for _, path, query in server.asked if path == "/models"]
    assert queries == [
        {"list-type": ["2"], "prefix": ["m/"]},
        {"list-type": ["2"], "prefix": ["m/"], "continuation-token": ["more"]},
    ]
    assert capsys.readouterr().out == "a b: 3 bytes\nsub/c: 2 bytes\n"
    assert not any(one.get("Authorization") for one in server.headers), "without a key"


def test_all_of_a_bucket_and_nothing_of_it(server: Server, tmp_path: Path) -> None:
    server.answers = {"/models": [(200, page(("a", 1))), (200, page())], "/models/a": [(200, b"x")]}
    bucket = Bucket(server.url, "models", key="k", secret="s")
    assert load_from_s3(bucket, "", str(tmp_path)) == 1
    assert server.asked[0][2] == {"list-type": ["2"]}, "an empty prefix"
    assert all("Credential=k/" in one["Authorization"] for one in server.headers)
    with pytest.raises(LoadError, match=r"^s3://models/x/ has no objects$"):
        load_from_s3(bucket, "x", str(tmp_path))


def test_what_may_be_better_later_is_tried_again(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    bad: list[Answer] = [(500, b""), (429, b""), (200, b"ab"), (503, b""), (200, b"abc")]
    server.answers = {"/models": [(200, page(("a", 3)))], "/models/a": bad}
    assert load_from_s3(Bucket(server.url, "models"), "", str(tmp_path)) == 3
    assert pauses == [0.5, 1, 2, 4], "two bytes of three were not enough"
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.mark.parametrize(
    "status, words, tries",
    [(403, "403 Forbidden$", 1), (499, "499", 1), (503, r"503 .*\(tried 5 times\)$", 5)],
)
def test_what_does_not_get_better_is_said(
    server: Server, tmp_path: Path, status: int, words: str, tries: int
) -> None:
    server.answers = {"/models": [(status, b"")]}
    with pytest.raises(LoadError, match=words):
        load_from_s3(Bucket(server.url, "models"), "", str(tmp_path))
    assert len(server.asked) == tries


def test_who_does_not_answer_is_said(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"^http://127.0.0.1:1/models.*refused \(tried 5 times\)$"):
        load_from_s3(Bucket("http://127.0.0.1:1", "models"), "", str(tmp_path))


def test_an_object_is_written(server: Server) -> None:
    server.answers = {"/models/certs/a.pem": [(200, b"")]}
    Bucket(server.url, "models", "eu-west-1", "k", "s").put("certs/a.pem", b"pem")
    assert server.asked == [("PUT", "/models/certs/a.pem", {})] and server.bodies == [b"pem"]
    (headers,) = server.headers
    assert "/eu-west-1/s3/aws4_request" in headers["Authorization"]
    with pytest.raises(LoadError, match="404"):
        Bucket(server.url, "models").put("other", b"")


MODEL = "/api/models/org/m/revision"
LISTED = b'{"siblings": [{"rfilename": "a b"}, {"rfilename": "s/c"}]}'


@pytest.mark.parametrize("revision, at", [("", "main"), ("v/2", "v%2F2")])
def test_the_files_of_a_model_of_a_hub(
    server: Server,
    tmp_path: Path,
    revision: str,
    at: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.answers = {
        f"{MODEL}/{at}": [(200, LISTED)],
        f"/org/m/resolve/{at}/a%20b": [(200, b"abc")],
        f"/org/m/resolve/{at}/s/c": [(200, b"")],
    }
    assert load_from_hub(server.url + "/", "org/m", revision, "t", str(tmp_path)) == 3
    assert (tmp_path / "a b").read_bytes() == b"abc" and (tmp_path / "s/c").read_bytes() == b""
    assert capsys.readouterr().out == "a b\ns/c\n"
    assert {one["Authorization"] for one in server.headers} == {"Bearer t"}


@pytest.mark.parametrize("listed", [b"{}", b'{"siblings": []}'])
def test_a_model_without_files_is_none(server: Server, tmp_path: Path, listed: bytes) -> None:
    server.answers = {f"{MODEL}/main": [(200, listed)], f"{MODEL}/v1": [(200, listed)]}
    for revision, name in (("", "main"), ("v1", "v1")):
        with pytest.raises(LoadError, match=rf"^org/m has no files at {name}$"):
            load_from_hub(server.url, "org/m", revision, "", str(tmp_path))
    assert not any(one.get("Authorization") for one in server.headers)


def of_s3(server: Server) -> dict[str, str]:
    server.answers = {"/models": [(200, page(("m/a", 1)))], "/models/m/a": [(200, b"x")]}
    return {
        "MODEL_SOURCE": "s3",
        "S3_ENDPOINT": server.url,
        "S3_BUCKET": "models",
        "S3_PREFIX": "m",
        "AWS_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
    }


def of_hub(server: Server) -> dict[str, str]:
    server.answers = {
        f"{MODEL}/main": [(200, b'{"siblings": [{"rfilename": "a"}]}')],
        "/org/m/resolve/main/a": [(200, b"x")],
    }
    return {"MODEL_SOURCE": "huggingface", "HF_ENDPOINT": server.url, "HF_MODEL": "org/m"}


@pytest.mark.parametrize("source, has_key", [(of_s3, True), (of_hub, False)])
def test_the_program_is_told_by_its_environment(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: Callable[[Server], dict[str, str]],
    has_key: bool,
) -> None:
    env = {**source(server), "MODEL_TARGET": str(tmp_path)}
    assert main(env) == 0
    assert (tmp_path / "a").read_bytes() == b"x"
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].startswith("1 bytes in ") and printed.err == ""
    assert all(bool(one.get("Authorization")) is has_key for one in server.headers)
    if has_key:
        assert "Credential=k/" in server.headers[0]["Authorization"]
        assert "/eu-west-1/" in server.headers[0]["Authorization"]


@pytest.mark.parametrize("source, lacks", [(of_s3, "S3_BUCKET"), (of_hub, "HF_MODEL")])
def test_the_program_says_what_it_lacks(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    source: Callable[[Server], dict[str, str]],
    lacks: str,
) -> None:
    env = {**source(server), "MODEL_TARGET": str(tmp_path)}
    del env[lacks]
    assert main(env) == 1
    assert capsys.readouterr().err == f"the model is not loaded: '{lacks}'\n"
    env[lacks] = "nobody"
    assert main(env) == 1
    assert "404" in capsys.readouterr().err
