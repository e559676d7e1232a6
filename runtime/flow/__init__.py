"""One request as a sans-I/O state machine."""
