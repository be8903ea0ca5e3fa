"""ResNet-20 v1 on the 100 fine classes of CIFAR-100; cifar10_resnet20v1.py with other data.

    python -m launch.train --config=configs/cifar100_resnet20v1.py --config.data.dir=DIR

DIR holds the published cifar-100-python.tar.gz or cifar-100-binary.tar.gz. The full recipe has not
been measured.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.data.name = "cifar100"
    return config
