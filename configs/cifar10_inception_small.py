"""Small Inception with an auxiliary head on CIFAR-10.

    python -m launch.train --config=configs/cifar10_inception_small.py --config.data.dir=DIR

DIR holds the published cifar-10-python.tar.gz or cifar-10-binary.tar.gz, or the extracted folder.
The recipe is this project's own and fits a laptop. Results of the first epoch: configs/README.md.
The larger network of Zhang et al. 2017 trains for hundreds of epochs, which is not reproduced here.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=128,
        num_epochs=30,
        model=ModelConfig(name="inception_small"),
        data=DataConfig(name="cifar10", normalization="per_channel", crop_padding=4, flip=True),
        loss=LossConfig(auxiliary_weight=0.3),
        optim=OptimConfig(
            learning_rate=0.2,
            momentum=0.9,
            nesterov=True,
            weight_decay=5e-4,
            schedule="one_cycle",
        ),
    )
