"""What is known of each endpoint, decayed to the instant of asking."""
