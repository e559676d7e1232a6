"""Carriers by protocol, each opened on first use: a plan of simulated providers never loads an HTTP client."""

from __future__ import annotations

from runtime.dispatch.transport import Transport


class Transports(dict[str, Transport]):
    """Transports by `Provider.protocol`; HTTP ones are one and the same, so that connections are shared."""

    def __missing__(self, protocol: str) -> Transport:
        if protocol == "sim":
            self["sim"] = _simulated()
        else:
            self["openai"] = self["responses"] = self["anthropic"] = _http()
        return self[protocol]


def _simulated() -> Transport:
    from runtime.sim.transport import SimTransport

    return SimTransport()


def _http() -> Transport:
    from runtime.dispatch.pool import Http1Transport

    return Http1Transport()
