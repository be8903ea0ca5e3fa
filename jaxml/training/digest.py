"""Digest of the state of a run."""

import hashlib

import jax
import numpy as np

from jaxml.types import PyTree


def sha256(tree: PyTree) -> str:
    """Returns a digest of every name, shape, dtype and bit of a tree of arrays.

    >>> sha256({"a": np.zeros(2)}) == sha256({"a": np.zeros(2)})
    True
    >>> sha256({"a": np.zeros(2)}) == sha256({"a": np.zeros(2, np.float32)})
    False
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
