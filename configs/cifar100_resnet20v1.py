"""ResNet-20 v1 on the 100 fine classes of CIFAR-100: otherwise as cifar10_resnet20v1.py.

    python -m launch.train --config=configs/cifar100_resnet20v1.py --config.data.dir=DIR

DIR holds cifar-100-python.tar.gz or cifar-100-binary.tar.gz as published. Not run here in full.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """The settings."""
    config = cifar10_resnet20v1.get_config()
    config.data.name = "cifar100"
    return config
