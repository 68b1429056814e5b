"""Programs of the machine's network that say what they are told to, and remember what they ran."""

from __future__ import annotations

import json
from typing import Any


class Programs:
    """Stands for `pods.run`. `says` maps the beginning of a command to its output: text, or
    something that is shown as JSON. The longest beginning counts."""

    def __init__(self, **says: Any) -> None:
        self.says: dict[str, Any] = {}
        self.ran: list[str] = []

    def __call__(self, *command: str, check: bool = True) -> str:
        line = " ".join(command)
        self.ran.append(line)
        beginnings = [start for start in self.says if line.startswith(start)]
        said = self.says[max(beginnings, key=len)] if beginnings else ""
        return said if isinstance(said, str) else json.dumps(said)

    def changes(self) -> list[str]:
        """What was run that changes something, in order."""
        looks = (" show", " -j ", " -o ")
        return [line for line in self.ran if not any(look in f"{line} " for look in looks)]
