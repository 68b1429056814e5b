"""Builds the demo's image from Debian's static busybox: no registry, no build tool."""

from __future__ import annotations

import sys
from pathlib import Path

from tiphys.cluster import images

NAME = "tiphys.local/hello:1"
APPLETS = [
    "sh",
    "ash",
    "cat",
    "ls",
    "wget",
    "nslookup",
    "ip",
    "ping",
    "sleep",
    "tar",
    "env",
    "id",
    "vi",
    "ps",
    "hostname",
    "echo",
    "httpd",
    "nc",
    "grep",
    "sed",
    "head",
    "tail",
    "mkdir",
    "rm",
    "cp",
    "mv",
    "test",
    "true",
    "false",
    "date",
    "wc",
    "touch",
    "chmod",
    "kill",
    "top",
    "df",
    "find",
    "xargs",
    "seq",
    "stat",
    "md5sum",
    "printf",
    "dd",
    "sort",
    "uniq",
    "tee",
    "mount",
    "awk",
]
SERVE = b"""#!/bin/sh
mkdir -p /www
echo "<h1>$(cat /config/greeting)</h1><p>$(hostname)</p>" > /www/index.html
exec httpd -f -p 8080 -h /www
"""


def build(path: Path) -> Path:
    """Writes the image to `path`; raises FileNotFoundError without busybox."""
    busybox = next(
        (p for p in (Path("/bin/busybox"), Path("/usr/bin/busybox")) if p.exists()),
        Path("/bin/busybox"),
    )
    files: dict[str, bytes | str] = {"bin/busybox": busybox.read_bytes(), "bin/serve": SERVE}
    files |= {f"bin/{name}": "/bin/busybox" for name in APPLETS}
    files |= {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        "etc/group": b"root:x:0:\n",
    }
    images.build(
        path, NAME, files, ["/bin/serve"], ("tmp", "root", "www", "var", "proc", "sys", "dev")
    )
    return path


if __name__ == "__main__":
    print(build(Path(sys.argv[1] if len(sys.argv) > 1 else "hello.tar")))
