"""ResNet-20 v1 on CIFAR-10: the recipe of He et al. 2015, section 4.2.

    python -m launch.train --config=configs/cifar10_resnet20v1.py --config.data.dir=DIR

DIR holds the published cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or the extracted folder.
The paper trains for 64,000 steps of 128 images (164 epochs) and divides the learning rate by 10 at
steps 32,000 and 48,000. Results: configs/README.md.
"""

from jaxml.config import Config, DataConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=128,
        num_epochs=164,
        model=ModelConfig(name="resnet20v1"),
        data=DataConfig(
            name="cifar10", normalization="per_channel", augment=("crop:padding=4", "flip")
        ),
        optim=OptimConfig(
            learning_rate=0.1,
            momentum=0.9,
            weight_decay=1e-4,
            schedule="step",
            step_boundaries=(0.5, 0.75),
        ),
    )
