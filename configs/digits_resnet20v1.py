"""ResNet-20 v1 on scikit-learn's handwritten digits."""

from jaxml.config import CheckpointConfig, Config, DataConfig, ModelConfig, OptimConfig


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
            weight_decay=5e-4,
            schedule="cosine",
            warmup_epochs=2.0,
            nesterov=True,
        ),
        checkpoint=CheckpointConfig(),
    )
