"""ResNet-20 v1 on MNIST, for one epoch.

    python -m launch.train --config=configs/mnist_resnet20v1.py --config.data.dir=DIR

DIR holds the four IDX files, train-images-idx3-ubyte and so on, optionally gzipped. Results:
configs/README.md.
"""

from jaxml.config import Config, DataConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=128,
        num_epochs=1,
        model=ModelConfig(name="resnet20v1"),
        data=DataConfig(name="mnist", normalization="per_channel", crop_padding=2),
        optim=OptimConfig(
            learning_rate=0.1,
            nesterov=True,
            weight_decay=5e-4,
            schedule="cosine",
            warmup_epochs=0.1,
        ),
    )
