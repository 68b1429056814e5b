"""Images from tars into the registry of a cluster (the add-on `registry`), over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import tarfile
from pathlib import Path
from typing import IO, Any

from tiphys.addons.registry import HOSTS, NAME, TOKEN_FILE
from tiphys.addons.registry.access import USER
from tiphys.cluster.state import Cluster, ClusterError
from tiphys.node.images.names import ImageNameError, full_name

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_SECONDS = 60.0  # that an answer may take
_LONGEST_INDEX = 4 << 20  # bytes


def folder(cluster: Cluster) -> Path:
    """What the add-on keeps of this cluster."""
    return cluster.root / "addons" / "registry"


def hosts_folder(cluster: Cluster) -> Path:
    """Where the cluster's containerds look how registries are reached."""
    return folder(cluster) / HOSTS


def push(cluster: Cluster, file: Path) -> list[str]:
    """Pushes every image of an OCI layout in a tar. Returns the names by which pods find them.
    Raises ClusterError."""
    registry = _registry_of(cluster)
    try:
        with tarfile.open(file) as archive:
            layout = Layout(archive)
            return [f"{NAME}/{_push_image(registry, layout, row)}" for row in layout.images()]
    except FileNotFoundError:
        raise ClusterError(f"{file} does not exist") from None
    except (tarfile.TarError, ValueError, LookupError, TypeError) as error:
        raise ClusterError(f"{file} is no OCI layout: {error}") from None
    except OSError as error:
        raise ClusterError(f"{file} was not pushed: {error}") from None


def short_name(name: str) -> str:
    """Of an image in a registry of ours: ``redis:7`` of ``redis:7``, which Docker keeps below
    ``library/``. Other registries have that folder only by name. Raises ImageNameError."""
    registry, _, rest = full_name(name).partition("/")
    return rest.removeprefix("library/") if registry == "docker.io" else rest


class Layout:
    """The blobs of an OCI layout in a tar."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def images(self) -> list[dict[str, Any]]:
        """The descriptors of its index."""
        return list(json.loads(self._read("index.json"))["manifests"])

    def blob(self, digest: str) -> IO[bytes]:
        """Raises KeyError."""
        algorithm, _, hexdigest = digest.partition(":")
        content = self._archive.extractfile(f"blobs/{algorithm}/{hexdigest}")
        if content is None:
            raise KeyError(digest)
        return content

    def document(self, digest: str) -> bytes:
        return self._bounded(self.blob(digest))

    def _read(self, path: str) -> bytes:
        content = self._archive.extractfile(path)
        if content is None:
            raise KeyError(path)
        return self._bounded(content)

    @staticmethod
    def _bounded(content: IO[bytes]) -> bytes:
        with content:
            return content.read(_LONGEST_INDEX)


class _Registry:
    """A connection to it."""

    def __init__(self, port: int, password: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {pair}"}

    def ask(
        self,
        method: str,
        path: str,
        body: IO[bytes] | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """The answer, read whole. Raises OSError."""
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400 and not (method == "HEAD" and answer.status == 404):
            raise ClusterError(
                f"the registry said {answer.status}: {text.decode(errors='replace')}"
            )
        return answer


def _registry_of(cluster: Cluster) -> _Registry:
    """Raises ClusterError when the cluster has none."""
    registries = [hosts.name for hosts in hosts_folder(cluster).glob("localhost:*")]
    if not registries:
        raise ClusterError(f"cluster {cluster.name} has no registry: tiphys addon enable registry")
    port = int(registries[0].partition(":")[2])
    return _Registry(port, (folder(cluster) / TOKEN_FILE).read_text().strip())


def _push_image(registry: _Registry, layout: Layout, descriptor: dict[str, Any]) -> str:
    """Returns its name in the registry."""
    annotations = descriptor.get("annotations", {})
    named = next((annotations[key] for key in _NAMES if key in annotations), "")
    try:
        name = short_name(named)
    except ImageNameError as error:
        raise ClusterError(f"{named or 'an image without a name'}: {error}") from None
    repository, _, tag = name.rpartition(":")
    _push_manifest(registry, layout, descriptor, repository, tag)
    return name


def _push_manifest(
    registry: _Registry,
    layout: Layout,
    descriptor: dict[str, Any],
    repository: str,
    reference: str,
) -> None:
    """With everything that it names, which has to be there first."""
    data = layout.document(descriptor["digest"])
    document = json.loads(data)
    if descriptor["mediaType"] in _INDEXES:
        for part in document["manifests"]:
            _push_manifest(registry, layout, part, repository, part["digest"])
    else:
        for blob in (document["config"], *document["layers"]):
            _push_blob(registry, layout, blob, repository)
    headers = {"Content-Type": descriptor["mediaType"]}
    registry.ask("PUT", f"/v2/{repository}/manifests/{reference}", data, headers)


def _push_blob(
    registry: _Registry, layout: Layout, descriptor: dict[str, Any], repository: str
) -> None:
    digest = descriptor["digest"]
    if registry.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200:
        return
    upload = registry.ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
    with layout.blob(digest) as content:
        path = f"{upload.headers['Location']}?digest={digest}"
        length = {"Content-Length": str(descriptor["size"])}
        registry.ask("PUT", path, content, length)
