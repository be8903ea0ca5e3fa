"""ResNet-20 v1 on scikit-learn's handwritten digits, the default config.

    python -m launch.train --config=configs/digits_resnet20v1.py

The images have 8x8 pixels. The writers of the test split do not occur in the training split. Time
and accuracy are in the README's results.
"""

from jaxml.config import Config, DataConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
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
