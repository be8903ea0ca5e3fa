"""The linear machines: all problems at once, to a proven gap."""
