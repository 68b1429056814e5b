"""Compiled modules in images."""

from __future__ import annotations

import marshal
import sys
from pathlib import Path

import pytest

from tiphys.cluster import bytecode
from tiphys.cluster.layers import LayerFiles

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="images have Python 3.11")

HELLO = "usr/local/lib/python3.11/dist-packages/hello.py"
COMPILED = "usr/local/lib/python3.11/dist-packages/__pycache__/hello.cpython-311.pyc"
UNCHECKED_HASH = b"\x01\x00\x00\x00"


def compiled(scratch: Path, modules: dict[str, bytes]) -> dict[str, bytes | None]:
    scratch.mkdir()
    with LayerFiles(merged=True) as files:
        for path, text in modules.items():
            files.file(path, text)
        bytecode.add(files, scratch)
        return {path: files.content(path) for path in files.paths() if path not in modules}


def test_a_module_has_its_compiled_form_beside_it(tmp_path: Path) -> None:
    content = compiled(tmp_path / "a", {HELLO: b"greeting = __name__"})[COMPILED]
    assert content is not None
    assert content[4:8] == UNCHECKED_HASH, "its time or hash would be looked at"
    code = marshal.loads(content[16:])
    assert code.co_filename == f"/{HELLO}", "tracebacks would show the builder's folder"
    names = {"__name__": "hello"}
    exec(code, names)
    assert names["greeting"] == "hello"


def test_the_same_modules_are_compiled_to_the_same_bytes(tmp_path: Path) -> None:
    text = b"import os\ndef told(a={'b', 'c'}):\n    return a in ({'d', 'e', 'f'}, 'told', os)\n"
    modules = {HELLO: text, "usr/lib/python3.11/os.py": text}
    first = compiled(tmp_path / "a", modules)
    assert len(first) == 2
    assert compiled(tmp_path / "b", modules) == first


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("usr/lib/python3/dist-packages/old.py", b"print 'two'"),
        ("usr/share/doc/example.py", b"print('hello')"),
        ("usr/lib/python3.11/data.txt", b"print('hello')"),
    ],
)
def test_what_is_no_module_of_it_stays_alone(tmp_path: Path, path: str, text: bytes) -> None:
    assert compiled(tmp_path / "a", {path: text}) == {}
