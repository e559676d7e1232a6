"""What crosses the wire: request fields, server-sent events, usage, errors."""
