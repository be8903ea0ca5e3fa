"""Weights of networks in files: safetensors, PyTorch and Keras, read without torch and Keras.

`load` and `save` convert between the variables of a network and a file, with the names of
torchvision, timm or Keras if one of them has the network. `read` returns the tensors of a file
without conversion. Nothing in a file is executed, and a hostile file cannot exhaust the memory.
"""

from jaxml.weights._files import check_names, load, save
from jaxml.weights._read import Weights, read

__all__ = ["Weights", "check_names", "load", "read", "save"]
