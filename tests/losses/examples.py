"""Labels of every kind that the losses of several classes take."""

import numpy as np


def labels_of(kind, shape=(2, 3), classes=4):
    """Draws labels: integers, or a number for each class."""
    rng = np.random.default_rng(1)
    integers = rng.integers(classes, size=shape, dtype=np.int32)
    return {
        "integer": integers,
        "one_hot": np.eye(classes, dtype=np.int32)[integers],
        "boolean": np.eye(classes, dtype=bool)[integers],
        "soft": rng.dirichlet(np.ones(classes), shape),
        "several": rng.random((*shape, classes)) < 0.5,
    }[kind]
