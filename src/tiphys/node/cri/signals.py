"""The numbers of signals: Linux's, and those that CRI has for them, which are no system's."""

from __future__ import annotations

import re
import signal

_AFTER_DEFAULT = """
ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS
TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ RTMIN
"""
_REAL_TIME = [f"RTMINPLUS{number}" for number in range(1, 16)]
_REAL_TIME += [f"RTMAXMINUS{number}" for number in range(14, 0, -1)]
_NUMBERS = {
    f"SIG{name}": number
    for number, name in enumerate([*_AFTER_DEFAULT.split(), *_REAL_TIME, "RTMAX"], 1)
}
_RANGE = {"SIGRTMIN": 34, "SIGRTMAX": 64}  # signals beside these are named by the distance
_LINUX = {**signal.Signals.__members__, **_RANGE}
_DIGITS = 3  # of a number that may be a signal's: an image may name any
_PARTS = re.compile(r"(.*?)([+-]\d{1,2})?$", re.ASCII | re.DOTALL)


def signal_number(name: str) -> int:
    """CRI's of ``SIGTERM`` or ``SIGRTMIN+3``; 0, the image's own, where there is none. A runtime
    that does not know the field sends the image's signal, too."""
    spelled = name.replace("+", "PLUS").replace("-", "MINUS")
    return _NUMBERS.get(spelled, 0)


def system_signal(name: str) -> int | None:
    """Linux's of ``SIGTERM``, ``TERM`` or ``15``, ``SIGRTMIN+3`` or ``SIGRTMAX-3``, as images name
    them; None if there is none."""
    if name.isascii() and name.isdecimal() and len(name) <= _DIGITS:
        number = int(name)
    else:
        spelled = f"SIG{name.upper().removeprefix('SIG')}"
        base, distance = _PARTS.match(spelled).groups()  # type: ignore[union-attr]
        if base not in (_RANGE if distance else _LINUX):
            return None
        number = _LINUX[base] + int(distance or 0)
    return number if 0 < number <= _RANGE["SIGRTMAX"] else None
