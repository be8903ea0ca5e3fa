"""What `launch.bench` does: ours and what users would pick instead, timed in turns."""
