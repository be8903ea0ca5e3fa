"""The kernel machines: the exact dual by working sets."""
