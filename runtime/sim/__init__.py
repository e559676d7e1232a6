"""Simulated providers behind `sim://` addresses."""
