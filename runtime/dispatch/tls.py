"""Whom we trust: one TLS context, made when the first https connection needs it."""

from __future__ import annotations

import os
import ssl


def trusting_context() -> ssl.SSLContext:
    """Return a context that verifies certificates and host names against the system's authorities.

    A hashed directory of certificates is read as needed, 0.2 ms; a bundle is read at once, 30 to 50 ms. Where the
    system has neither, the bundle of `certifi` is used. `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    paths = ssl.get_default_verify_paths()
    if "SSL_CERT_FILE" in os.environ and paths.cafile:
        context.load_verify_locations(cafile=paths.cafile)
    elif paths.capath and _is_hashed(paths.capath):
        context.load_verify_locations(capath=paths.capath)
    elif paths.cafile:
        context.load_verify_locations(cafile=paths.cafile)
    else:
        import certifi  # 1 MB that a system with authorities of its own never reads

        context.load_verify_locations(cafile=certifi.where())
    return context


def _is_hashed(folder: str) -> bool:
    """Whether OpenSSL can look certificates up in the folder: names such as `5ad8a5d6.0`."""
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".0") for entry in entries)
