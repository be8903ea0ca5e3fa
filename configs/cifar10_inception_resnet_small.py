"""A small Inception-ResNet on CIFAR-10: as cifar10_inception_small.py, with residual blocks.

    python -m launch.train --config=configs/cifar10_inception_resnet_small.py --config.data.dir=DIR

Not run here in full; its first epoch is in the README's results.
"""

from configs import cifar10_inception_small
from jaxml.config import Config


def get_config() -> Config:
    """The settings."""
    config = cifar10_inception_small.get_config()
    config.model.name = "inception_resnet_small"
    return config
