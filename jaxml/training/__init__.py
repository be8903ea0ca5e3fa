"""Training, evaluation and export of a network; start reading in `loop.py`."""
