"""Service level indicators: what the health checks found, for ``/metrics/slis``."""

from __future__ import annotations

from collections import Counter


class HealthRecord:
    """The last result of each check, and how often each result was seen, by the name of the check
    and of its page.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], bool] = {}
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def observe(self, page: str, checks: dict[str, bool]) -> None:
        for name, healthy in checks.items():
            self._last[name, page] = healthy
            self._seen[name, page, "success" if healthy else "error"] += 1

    def text(self) -> str:
        """In the form that Prometheus reads; names and help of the metrics are upstream's stable
        ones.
        """
        lines = [
            "# HELP kubernetes_healthcheck [STABLE] This metric records the result of a single "
            "healthcheck.",
            "# TYPE kubernetes_healthcheck gauge",
            *(
                f'kubernetes_healthcheck{{name="{name}",type="{page}"}} {int(healthy)}'
                for (name, page), healthy in sorted(self._last.items())
            ),
            "# HELP kubernetes_healthchecks_total [STABLE] This metric records the results of all "
            "healthcheck.",
            "# TYPE kubernetes_healthchecks_total counter",
            *(
                f'kubernetes_healthchecks_total{{name="{name}",status="{status}",type="{page}"}} '
                f"{count}"
                for (name, page, status), count in sorted(self._seen.items())
            ),
        ]
        return "\n".join(lines) + "\n"
