"""kubernetes-workload: how many pods there are that a selector chooses."""

from __future__ import annotations

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import Scaler, scaler
from tiphys.api import core_v1
from tiphys.machinery.selectors import SelectorError, parse_labels

_ENDED = ("Succeeded", "Failed")


@scaler("kubernetes-workload", words="kubernetes workload")
class KubernetesWorkload(Scaler):
    pod_selector: str = parameter()
    value: float = parameter(default="0")
    activation_value: float = parameter(default="0")
    group_by_node: bool = parameter(default="false")

    def check(self) -> None:
        if self.value <= 0 and not self.config.is_source:
            raise ParameterError("value must be a float greater than 0")
        try:
            parse_labels(self.pod_selector)
        except SelectorError as error:
            raise ParameterError(f"error parsing pod selector: {error}") from None

    def name(self) -> str:
        return f"workload-{self.config.namespace}"

    def target(self) -> float:
        return self.value

    def activation(self) -> float:
        return self.activation_value

    async def measure(self) -> float:
        client = self.config.surroundings.client
        listed = await client.list(core_v1.Pod, self.config.namespace, labels=self.pod_selector)
        live = [pod for pod in listed.items if pod.status.phase not in _ENDED]
        if self.group_by_node:
            return len({pod.spec.node_name for pod in live if pod.spec.node_name})
        return len(live)
