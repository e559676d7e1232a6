"""The `.route` language: text in, a `Plan` or diagnostics out."""
