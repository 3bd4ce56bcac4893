"""The embedded benchmark data, generated on first use."""
