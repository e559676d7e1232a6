"""Carriers by protocol, each opened on first use: a plan of simulated providers never loads an HTTP client."""

from __future__ import annotations

from runtime.dispatch.transport import Transport


class Transports(dict[str, Transport]):
    """Transports by `outgoing.carrier`; HTTP/1.1 is one and the same, so that connections are shared."""

    def __missing__(self, protocol: str) -> Transport:
        if protocol == "sim":
            self["sim"] = _simulated()
        elif protocol == "h2":
            self["h2"] = _http2()
        else:
            self["openai"] = self["responses"] = self["anthropic"] = _http()
        return self[protocol]


def _simulated() -> Transport:
    from runtime.sim.transport import SimTransport

    return SimTransport()


def _http2() -> Transport:
    from runtime.dispatch.httpx_transport import HttpxTransport

    return HttpxTransport(http2=True)


def _http() -> Transport:
    from runtime.dispatch.pool import Http1Transport

    return Http1Transport()
