"""From the meaning of a policy to the tables that decide it."""
