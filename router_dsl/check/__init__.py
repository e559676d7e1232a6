"""The checker: syntax trees in, one resolved and total program out, or everything that is wrong with them."""
