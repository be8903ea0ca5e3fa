"""ResNet-20 v1 on CIFAR-10, for a CPU: 30 epochs with Muon, on small images first.

    python -m launch.train --config=configs/cifar10_resnet20v1_fast.py --config.data.dir=DIR

DIR holds the published cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or the extracted folder.
The recipe is this project's own. It differs from cifar10_resnet20v1.py in the optimizer (Muon with
decoupled weight decay), the schedule (one epoch of warm-up, then linear to zero), the size of the
images (16, then 24, then 32 pixels), and the test, which averages the outputs of each image and its
mirror image. Results: configs/README.md.
"""

from configs import cifar10_resnet20v1
from jaxml.config import Config, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    config = cifar10_resnet20v1.get_config()
    config.batch_size = 256
    config.num_epochs = 30
    config.data.progressive_sizes = (16,) * 8 + (24,) * 12 + (32,) * 10
    config.optim = OptimConfig(
        name="muon",
        learning_rate=0.04,
        momentum=0.95,
        nesterov=True,
        weight_decay=0.05,
        warmup_epochs=1,
        schedule="polynomial",
    )
    config.eval_flip = True
    return config
