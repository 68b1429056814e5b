"""Sets of CPUs as the kernel writes them: ``0-3,8``. Pure."""

from __future__ import annotations

from collections.abc import Iterable

CPUSet = frozenset[int]

NONE: CPUSet = frozenset()
_MOST = 1 << 16  # CPUs: more than any kernel is built for


def parse(text: str) -> CPUSet:
    """Raises ValueError; the text says what of it is no number or no range."""
    cpus: set[int] = set()
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        start = _number(first)
        end = _number(last) if dash else start
        if start > end:
            raise ValueError(f"invalid range {part!r} ({start} > {end})")
        cpus.update(range(start, end + 1))
    return frozenset(cpus)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > len(str(_MOST)) or int(text) > _MOST:
        raise ValueError(f'strconv.Atoi: parsing "{text}": value out of range')
    return int(text)


def written(cpus: Iterable[int]) -> str:
    """In ascending order, neighbours as ranges; "" of no CPUs."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
