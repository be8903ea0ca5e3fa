"""ResNet-20 v1 on MNIST, for one epoch; digits_resnet20v1.py with other data.

    python -m launch.train --config=configs/mnist_resnet20v1.py --config.data.dir=DIR

DIR holds the four IDX files, train-images-idx3-ubyte and so on, optionally gzipped. Results:
configs/README.md.
"""

from configs import digits_resnet20v1
from jaxml.config import Config, DataConfig


def get_config() -> Config:
    """Returns the config."""
    config = digits_resnet20v1.get_config()
    config.batch_size = 128
    config.num_epochs = 1
    config.eval_every_epochs = 1
    config.data = DataConfig(name="mnist", normalization="per_channel", augment=("crop:padding=2",))
    config.optim.weight_decay = 5e-4
    config.optim.warmup_epochs = 0.1
    return config
