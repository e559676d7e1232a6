"""Request to facts to plan: the pure decision."""
