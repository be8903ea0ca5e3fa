"""ResNet-56 v1 on CIFAR-10, trained as in cifar10_resnet20v1.py.

    python -m launch.train --config=configs/cifar10_resnet56v1.py --config.data.dir=DIR

The full recipe has not been measured.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.model.name = "resnet56v1"
    return config
