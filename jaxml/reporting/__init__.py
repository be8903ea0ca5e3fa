"""Reports on a run: its progress on the terminal and the profile of its steps."""
