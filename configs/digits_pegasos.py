r"""Pegasos: one-vs-rest linear support vector machines on scikit-learn's digits.

    python -m launch.train --config=configs/digits_pegasos.py

Stochastic subgradient descent on

.. math:: \frac{\lambda}{2} |w|^2 + \frac{1}{n} \sum_{i=1}^n \max(0, 1 - s_i w^\top x_i),
    \qquad \lambda = \frac{1}{C n}

with step size :math:`1 / (\lambda t)`, followed by a projection onto the ball of radius
:math:`1 / \sqrt{\lambda}`, which contains the optimum. There is no intercept: the bias stays at 0.
The average of the last tenth of the epochs is evaluated. The run ends close to scikit-learn's
`LinearSVC(loss="hinge", C=C, fit_intercept=False)`, which its test asserts. Results:
configs/README.md.

Source: Shalev-Shwartz, Singer, Srebro, Cotter, "Pegasos: primal estimated sub-gradient solver for
SVM", 2011, figure 2.
"""

from configs import mnist_linear_svm
from jaxml.config import AverageConfig, Config, OptimConfig

C = 1.0
EXAMPLES = 1437
LAMBDA = 1 / (C * EXAMPLES)


def get_config() -> Config:
    """Returns the config."""
    config = mnist_linear_svm.get_config()
    config.data.name = "digits"
    config.batch_size = 64
    config.num_epochs = 400
    config.eval_every_epochs = 100
    config.steps_per_call = 22
    config.weights.freeze = "head/bias"
    config.optim = OptimConfig(
        learning_rate=1 / LAMBDA,
        momentum=0.0,
        weight_decay=LAMBDA,
        max_norm=LAMBDA**-0.5,
        schedule="inverse_time",
    )
    config.average = AverageConfig(name="swa", start=0.9)
    return config
