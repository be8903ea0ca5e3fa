"""A grid solved at once has the accuracies of one fit for each of its settings and folds."""

import numpy as np
import pytest
import sklearn.svm
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from jaxml.svm.grid import kernel_grid, linear_grid


def iris():
    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32)
    return x, y, np.arange(len(y)) * 7 % 3


def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[:240]
    return x, np.where(y[:240] == 1, "benign", "malignant"), np.arange(240) % 4


def expected(model, grid, x, y, fold):
    """Of scikit-learn's own search, `[settings, folds]`."""
    search = GridSearchCV(model, grid, cv=PredefinedSplit(fold)).fit(x, y)
    return np.stack([search.cv_results_[f"split{k}_test_score"] for k in range(fold.max() + 1)], 1)


@pytest.mark.parametrize("data", [iris, tumours])
def test_a_grid_of_kernels(data):
    x, y, fold = data()
    C, gamma = [0.1, 1.0, 30.0], [0.02, 0.3]
    grid = kernel_grid(x, y, C=C, gamma=gamma, folds=fold, tolerance=1e-4)
    theirs = expected(sklearn.svm.SVC(tol=1e-5), {"gamma": gamma, "C": C}, x, y, fold)
    theirs = theirs.reshape(len(C), len(gamma), -1).transpose(1, 0, 2)
    # Nearly all are the same; an example on the border may fall on either side.
    assert np.abs(grid.accuracy - theirs).max() <= 1.5 / np.bincount(fold).min()
    assert np.mean(grid.accuracy != theirs) <= 0.1
    best = grid.accuracy.mean(-1).max()
    assert grid.best["accuracy"] == best
    place = grid.accuracy.mean(-1)[gamma.index(grid.best["gamma"]), C.index(grid.best["C"])]
    assert place == best


@pytest.mark.parametrize("data", [iris, tumours])
def test_a_grid_of_linear_machines(data):
    x, y, fold = data()
    C = [0.01, 1.0, 10.0]
    grid = linear_grid(x, y, C=C, folds=fold, tolerance=1e-5)
    theirs = expected(sklearn.svm.LinearSVC(tol=1e-6, max_iter=10**5), {"C": C}, x, y, fold)
    assert np.abs(grid.accuracy - theirs).max() <= 1.5 / np.bincount(fold).min()
    assert np.mean(grid.accuracy != theirs) <= 0.12
    assert set(grid.best) == {"C", "accuracy"}


def test_folds_are_stratified():
    x, y, _ = iris()
    assert linear_grid(x, y, C=[1.0], folds=5).accuracy.shape == (1, 5)
    with pytest.raises(ValueError, match=r"folds: 51 is not allowed.* at most 50, the size"):
        linear_grid(x, y, C=[1.0], folds=51)


def test_mistakes():
    x, y, _ = iris()
    with pytest.raises(ValueError, match=r"C: \[1.0, -1.0\] is not allowed, it is a list"):
        kernel_grid(x, y, C=[1.0, -1.0])
    with pytest.raises(ValueError, match="y: one class only, 0; a classifier needs two"):
        kernel_grid(x, 0 * y, C=[1.0])
    with pytest.raises(ValueError, match=r"kernel: 'rfb' is not one of .* did you mean 'rbf'"):
        kernel_grid(x, y, C=[1.0], kernel="rfb")
