"""ResNet-20 v1 on Fashion-MNIST: mnist_resnet20v1.py with flips, for ten epochs.

    python -m launch.train --config=configs/fashion_mnist_resnet20v1.py --config.data.dir=DIR

The recipe has not been measured.
"""

from configs import mnist_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = mnist_resnet20v1.get_config()
    config.num_epochs = 10
    config.data.name = "fashion_mnist"
    config.data.augment = (*config.data.augment, "flip")
    return config
