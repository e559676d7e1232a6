"""Tests made by machine: requests that pin every rule of a policy, and changes that its tests should notice."""
