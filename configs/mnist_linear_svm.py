r"""One-vs-rest linear support vector machines on the pixels of MNIST, by mini-batches.

    python -m launch.train --config=configs/mnist_linear_svm.py --config.data.dir=DIR

DIR holds the four IDX files, train-images-idx3-ubyte and so on, optionally gzipped. The objective
of liblinear and of scikit-learn's `LinearSVC(loss="hinge", C=C)`, which also penalizes the
intercept,

.. math:: \frac{1}{2} |w|^2 + C \sum_{i=1}^n \max(0, 1 - s_i f(x_i)),

divided by C n, is the mean hinge loss with a weight decay of

.. math:: \lambda = \frac{1}{C n}.

Results: configs/README.md.
"""

from jaxml.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig

C = 1.0
EXAMPLES = 60_000


def get_config() -> Config:
    """Returns the config."""
    return Config(
        batch_size=125,
        num_epochs=20,
        eval_every_epochs=5,
        steps_per_call=60,
        model=ModelConfig(name="linear"),
        data=DataConfig(name="mnist", normalization="unit"),
        loss=LossConfig(name="one_vs_rest_hinge"),
        optim=OptimConfig(
            learning_rate=0.1,
            momentum=0.9,
            weight_decay=1 / (C * EXAMPLES),
            schedule="cosine",
        ),
    )
