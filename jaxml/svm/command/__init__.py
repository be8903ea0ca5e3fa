"""What the command `launch.svm` does."""
