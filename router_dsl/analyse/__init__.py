"""What holds of a policy for every request: regions of requests, and what is proved or refuted of them."""
