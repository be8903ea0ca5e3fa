"""A grid solved as one batch has the accuracies of separate fits."""

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


@pytest.mark.slow
@pytest.mark.parametrize("data", [iris, tumours])
def test_a_kernel_grid(data):
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


@pytest.mark.slow
@pytest.mark.parametrize("data", [iris, tumours])
def test_a_linear_grid(data):
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
    with pytest.raises(ValueError, match=r"`folds` must be >= 2 and <= 50, .* got 51"):
        linear_grid(x, y, C=[1.0], folds=51)


@pytest.mark.parametrize("grid", [linear_grid, kernel_grid])
def test_arrays_of_any_kind_are_accepted(grid):
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
        ({"C": [1.0, -1.0]}, r"`C` must be a list of numbers .* got \[1.0, -1.0\]"),
        ({"C": [np.inf]}, r"`C` must be a list of numbers > 0 and .* got \[inf\]"),
        ({"C": [np.nan]}, r"`C` must be .* got \[nan\]"),
        ({"x": NAN}, "invalid `x` or `y`: Input X contains NaN"),
        ({"x": X[0]}, "invalid `x` or `y`: Expected 2D array, got 1D array"),
        ({"y": Y[:-1]}, r"invalid `x` or `y`: .* inconsistent numbers of samples: \[150, 149\]"),
        ({"y": Y + 0.5}, "invalid `x` or `y`: Unknown label type: continuous"),
        ({"y": 0 * Y}, "`y` must have at least two classes, got 1 class: 0"),
        ({"folds": FOLD[:-1]}, r"`folds` must be .* \[150\] integers, got int64 of shape \(149,\)"),
        ({"folds": FOLD * 1.0}, r"`folds` must be .* got float64 of shape \(150,\)"),
        ({"folds": 5.0}, r"`folds` must be .* got float64 of shape \(\)"),
        ({"folds": FOLD * 2}, r"`folds` must have all indices 0 to n - 1, got \[0, 2, 4\]"),
        ({"folds": FOLD - 1}, r"`folds` must have all .* got \[-1, 0, 1\]"),
        ({"folds": Y}, "`folds` must leave .* fold 0 holds out all of class 0"),
        (
            {"folds": np.where(Y == 2, 1, FOLD % 2)},
            "`folds` must leave .* fold 1 holds out all of class 2",
        ),
    ],
)
def test_invalid_arguments(grid, settings, message):
    with pytest.raises(InputError, match=message) as caught:
        grid(**{"x": X, "y": Y, "C": [1.0], **settings})
    assert "\n" not in str(caught.value)


def test_invalid_arguments_of_one_grid():
    with pytest.raises(
        InputError, match=r"`loss` must be one of .* got 'hing'; did you mean 'hinge'"
    ):
        linear_grid(X, Y, C=[1.0], loss="hing")
    with pytest.raises(InputError, match=r"`loss` must be one of .* got 'epsilon_insensitive'"):
        linear_grid(X, Y, C=[1.0], loss="epsilon_insensitive")
    with pytest.raises(
        InputError, match=r"`kernel` must be one of .* got 'rfb'; did you mean 'rbf'"
    ):
        kernel_grid(X, Y, C=[1.0], kernel="rfb")
    with pytest.raises(
        InputError, match=r"`kernel` must be one of linear, poly.* got 'precomputed'"
    ):
        kernel_grid(X, Y, C=[1.0], kernel="precomputed")
    with pytest.raises(
        InputError, match="invalid `x` or `y`: Input X contains infinity or a value too large"
    ):
        linear_grid(np.float64(X) * 1e39, Y, C=[1.0])
