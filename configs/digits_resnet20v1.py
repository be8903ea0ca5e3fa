"""ResNet-20 v1 on scikit-learn's handwritten digits: the default recipe.

    python -m launch.train --config=configs/digits_resnet20v1.py

The images have 8x8 pixels; training and test images come from different writers. Results:
configs/README.md.
"""

from jaxml.config import Config, DataConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=64,
        num_epochs=30,
        eval_every_epochs=5,
        model=ModelConfig(name="resnet20v1"),
        data=DataConfig(name="digits", normalization="per_image", augment=("crop:padding=1",)),
        optim=OptimConfig(
            learning_rate=0.1,
            nesterov=True,
            weight_decay=2e-3,
            schedule="cosine",
            warmup_epochs=2.0,
        ),
    )
