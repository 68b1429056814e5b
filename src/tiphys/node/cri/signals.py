"""The numbers that CRI has for signals; none of a system's. A runtime that does not know the field
sends the image's signal."""

from __future__ import annotations

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


def signal_number(name: str) -> int:
    """Of ``SIGTERM`` or ``SIGRTMIN+3``; 0, the image's own, where there is none."""
    spelled = name.replace("+", "PLUS").replace("-", "MINUS")
    return _NUMBERS.get(spelled, 0)
