"""Ways in: ASGI and the command line."""
