"""ResNet-20 v1 on scikit-learn's handwritten digits: the default.

    python -m launch.train --config=configs/digits_resnet20v1.py

The images are 8x8 pixels; those of the test split are by other writers than those of the training
split. Time and accuracy are in the README's results.
"""

from jaxml.config import Config, DataConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """The settings."""
    return Config(
        batch_size=64,
        num_epochs=30,
        eval_every_epochs=5,
        model=ModelConfig(name="resnet20v1"),
        data=DataConfig(name="digits", normalization="per_image", crop_padding=1),
        optim=OptimConfig(
            learning_rate=0.1,
            nesterov=True,
            weight_decay=2e-3,
            schedule="cosine",
            warmup_epochs=2.0,
        ),
    )
