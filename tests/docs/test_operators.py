"""docs/operators.md runs as it stands: its operator, and its test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

TEXT = (Path(__file__).parents[2] / "docs" / "operators.md").read_text()


def test_the_operator_of_the_page_works() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 2
    assert len([line for line in blocks[0].splitlines() if line.strip()]) <= 75
    namespace: dict[str, Any] = {"__name__": "greeter"}
    for block in blocks:
        exec(compile(block, "docs/operators.md", "exec", dont_inherit=True), namespace)
