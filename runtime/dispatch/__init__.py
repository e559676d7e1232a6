"""Drives flows over transports: tasks, timers, cancellation."""
