"""README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


async def test_the_test_in_the_readme_passes() -> None:
    snippet = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert snippet is not None
    namespace: dict[str, object] = {}
    exec(compile(snippet[1], str(README), "exec"), namespace)
    test = namespace["test_my_operator"]
    assert callable(test)
    await test()
