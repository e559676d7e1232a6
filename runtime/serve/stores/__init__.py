"""Stores that instances share: what their limits have spent, and what they know of endpoints."""
