"""Linear regression of disease progression on ten features, by full-batch gradient descent.

    python -m launch.train --config=configs/diabetes_linear_regression.py

The run converges to the closed-form solution, which its test asserts. Results: configs/README.md.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=None,
        num_epochs=1000,
        eval_every_epochs=100,
        model=ModelConfig(name="linear"),
        data=DataConfig(name="diabetes", normalization="per_channel"),
        loss=LossConfig(name="squared_error"),
        optim=OptimConfig(learning_rate=0.1, momentum=0.9, weight_decay=0.0, schedule="constant"),
    )
