"""Logistic regression on the breast cancer data of scikit-learn: 30 features, two classes.

    python -m launch.train --config=configs/breast_cancer_logistic.py

Mini-batch gradient descent on the sigmoid cross-entropy with an L2 penalty. Results:
configs/README.md.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=64,
        num_epochs=100,
        eval_every_epochs=10,
        model=ModelConfig(name="linear"),
        data=DataConfig(name="breast_cancer", normalization="per_channel"),
        loss=LossConfig(name="sigmoid_cross_entropy", l2=1e-3),
        optim=OptimConfig(learning_rate=0.5, weight_decay=0.0, schedule="cosine"),
    )
