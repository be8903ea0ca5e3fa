"""Small Inception-ResNet on CIFAR-10: cifar10_inception_small.py with residual blocks.

    python -m launch.train --config=configs/cifar10_inception_resnet_small.py --config.data.dir=DIR

Results of the first epoch: configs/README.md. The full recipe has not been measured.
"""

from configs import cifar10_inception_small
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_inception_small.get_config()
    config.model.name = "inception_resnet_small"
    return config
