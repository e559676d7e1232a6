"""Limits of a policy: requests, tokens and dollars for each value of some facts."""
