"""ResNet-20 v1 on CIFAR-100 with its 100 fine classes, otherwise as cifar10_resnet20v1.py.

    python -m launch.train --config=configs/cifar100_resnet20v1.py --config.data.dir=DIR

DIR contains cifar-100-python.tar.gz or cifar-100-binary.tar.gz as published. There is no result of
the full recipe yet.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.data.name = "cifar100"
    return config
