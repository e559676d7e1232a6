"""The serving half: decides, dispatches and relays."""
