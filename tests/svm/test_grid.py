"""A grid solved at once has the accuracies of one fit for each of its settings and folds."""

from typing import Any

import numpy as np
import pytest
import sklearn.svm
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.model_selection import GridSearchCV, PredefinedSplit

from jaxml.errors import InputError
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


@pytest.mark.parametrize("grid", [linear_grid, kernel_grid])
def test_integers_lists_and_counts_of_any_kind_are_taken(grid):
    x, y, fold = iris()
    x = np.round(10 * x)
    expected = grid(x, y, C=[0.01], folds=fold).accuracy
    found = grid(x.astype(int).tolist(), y.tolist(), C=[0.01], folds=fold.astype(np.uint8))
    np.testing.assert_array_equal(found.accuracy, expected)
    counted: Any = np.int64(3)
    assert grid(x.astype(np.int16), y, C=[0.01], folds=counted).accuracy.shape[-1] == 3


X, Y, FOLD = iris()
NAN = np.where(np.arange(150)[:, None] == 7, np.nan, X)


@pytest.mark.parametrize("grid", [linear_grid, kernel_grid])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"C": [1.0, -1.0]}, r"C: \[1.0, -1.0\] is not allowed, it is a list"),
        ({"C": [np.inf]}, r"C: \[inf\] is not allowed, it is a list of numbers above 0 and at"),
        ({"C": [np.nan]}, r"C: \[nan\] is not allowed"),
        ({"x": NAN}, "x, y: Input X contains NaN"),
        ({"x": X[0]}, "x, y: Expected 2D array, got 1D array"),
        ({"y": Y[:-1]}, r"x, y: .* inconsistent numbers of samples: \[150, 149\]"),
        ({"y": Y + 0.5}, "x, y: Unknown label type: continuous"),
        ({"y": 0 * Y}, "y: one class only, 0; a classifier needs two"),
        ({"folds": FOLD[:-1]}, r"folds: int64 of shape \(149,\) .* an int or \[150\] integers"),
        ({"folds": FOLD * 1.0}, r"folds: float64 of shape \(150,\) is not allowed"),
        ({"folds": 5.0}, r"folds: float64 of shape \(\) is not allowed"),
        ({"folds": FOLD * 2}, r"folds: the numbers \[0, 2, 4\] are not allowed, .* 0 to 2, the "),
        ({"folds": FOLD - 1}, r"folds: the numbers \[-1, 0, 1\] are not allowed"),
        ({"folds": Y}, "folds: 0 holds out all of the class 0, of which nothing is left to fit"),
        ({"folds": np.where(Y == 2, 1, FOLD % 2)}, "folds: 1 holds out all of the class 2"),
    ],
)
def test_mistakes(grid, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        grid(**{"x": X, "y": Y, "C": [1.0], **settings})
    assert "\n" not in str(caught.value)


def test_mistakes_of_one_grid():
    with pytest.raises(InputError, match=r"loss: 'hing' is not one of .*; did you mean 'hinge'"):
        linear_grid(X, Y, C=[1.0], loss="hing")
    with pytest.raises(InputError, match="loss: 'epsilon_insensitive' is not one of squared_h"):
        linear_grid(X, Y, C=[1.0], loss="epsilon_insensitive")
    with pytest.raises(InputError, match=r"kernel: 'rfb' is not one of .* did you mean 'rbf'"):
        kernel_grid(X, Y, C=[1.0], kernel="rfb")
    with pytest.raises(InputError, match="kernel: 'precomputed' is not one of linear, poly"):
        kernel_grid(X, Y, C=[1.0], kernel="precomputed")
    with pytest.raises(InputError, match="x, y: Input X contains infinity or a value too large"):
        linear_grid(np.float64(X) * 1e39, Y, C=[1.0])
