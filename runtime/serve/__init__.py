"""The ASGI application around a loaded plan."""
