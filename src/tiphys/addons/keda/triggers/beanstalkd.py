"""beanstalkd: how many jobs of a tube wait or are worked on."""

from __future__ import annotations

import asyncio
from urllib.parse import quote_plus

from tiphys.addons.keda.dialing import dial, host_port
from tiphys.addons.keda.parameters import parameter
from tiphys.addons.keda.scaler import Scaler, ScalerError, scaler

_LONGEST = 64 << 10  # bytes of an answer


@scaler("beanstalkd")
class Beanstalkd(Scaler):
    server: str = parameter()
    tube: str = parameter()
    value: float = parameter()
    activation_value: float = parameter(optional=True)
    include_delayed: bool = parameter(optional=True)

    def name(self) -> str:
        return f"beanstalkd-{quote_plus(self.tube)}"

    def target(self) -> float:
        return self.value

    def activation(self) -> float:
        return self.activation_value

    async def measure(self) -> float:
        if any(letter.isspace() for letter in self.tube):
            raise ScalerError("error interacting with beanstalkd: a tube has no spaces")
        names = ["current-jobs-ready", "current-jobs-reserved"]
        if self.include_delayed:
            names.append("current-jobs-delayed")
        try:
            stats = await self._stats()
            return sum(int(stats.get(name, "0")) for name in names)
        except TimeoutError:
            raise ScalerError("error interacting with beanstalkd: i/o timeout") from None
        except (ScalerError, OSError, ValueError, EOFError, asyncio.LimitOverrunError) as error:
            raise ScalerError(f"error interacting with beanstalkd: {error}") from None

    async def _stats(self) -> dict[str, str]:
        """Of the tube; none of one that has not been used."""
        reader, writer = await dial(self.config, *host_port(self.server, 11300))
        try:
            async with asyncio.timeout(self.config.surroundings.timeout):
                writer.write(f"stats-tube {self.tube}\r\n".encode())
                await writer.drain()
                head = (await reader.readuntil(b"\r\n")).split()
                if head[:1] == [b"NOT_FOUND"]:
                    return {}
                if len(head) != 2 or head[0] != b"OK" or not 0 < int(head[1]) < _LONGEST:
                    raise ScalerError(b" ".join(head).decode(errors="replace")[:100])
                body = (await reader.readexactly(int(head[1]))).decode(errors="replace")
        finally:
            writer.close()
        rows = (line.partition(":") for line in body.splitlines())
        return {name.strip(): value.strip() for name, colon, value in rows if colon}
