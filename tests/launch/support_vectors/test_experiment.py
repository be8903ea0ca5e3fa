"""Experiments against scikit-learn, within one process."""

import json
import math
from typing import Any

import numpy as np
import pytest
import sklearn.svm
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler

from jaxml.errors import InputError
from jaxml.svm.files import write_examples
from launch.support_vectors import experiment
from launch.support_vectors.config import SVMConfig
from launch.support_vectors.experiment import Outputs
from launch.support_vectors.fitted_model import fit, load, save
from launch.support_vectors.scaling import fit_scaling, read_scaling
from launch.support_vectors.tables import Table, read_tables

sklearn_svm: Any = sklearn.svm


def _irises():
    x, y = load_iris(return_X_y=True)
    return Table("a", x[::2], y[::2].astype(float)), Table("b", x[1::2], y[1::2].astype(float))


def _run(config, train, test=None, *, cv=0, outputs=None, stopped=lambda: False):
    lines = []
    result = experiment.run(
        config,
        train,
        test,
        cv=cv,
        outputs=outputs or Outputs(),
        say=lines.append,
        stopped=stopped,
    )
    return result, lines


def test_a_kernel_model_of_scaled_features_matches_scikit_learn(tmp_path):
    train, test = _irises()
    model, predictions = tmp_path / "model", tmp_path / "predictions"
    outputs = Outputs(model, predictions, tmp_path / "result")
    config = SVMConfig(kernel="rbf", C=2, gamma="0.7", scale="standard")
    result, lines = _run(config, train, test, cv=3, outputs=outputs)

    scaler = StandardScaler().fit(train.x)
    oracle: Any = sklearn_svm.SVC(C=2, gamma=0.7, tol=1e-6).fit(scaler.transform(train.x), train.y)
    expected = oracle.predict(scaler.transform(test.x))
    np.testing.assert_array_equal(np.loadtxt(predictions), expected)
    assert result["accuracy"] == (expected == test.y).mean()
    assert result["n_support"] == pytest.approx(len(oracle.support_), abs=1)
    assert result["dual"] <= result["primal"]
    assert result["relative_gap"] < 1e-3
    assert result == json.loads((tmp_path / "result").read_text())
    assert result["config"]["loss"] == "hinge"

    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(train.x, train.y)
    right = 0
    for fitted, held in folds:
        scaler = StandardScaler().fit(train.x[fitted])
        oracle.fit(scaler.transform(train.x[fitted]), train.y[fitted])
        right += (oracle.predict(scaler.transform(train.x[held])) == train.y[held]).sum()
    assert result["cv_accuracy"] == right / len(train.y)
    assert sum(line.startswith("fold ") for line in lines) == 3

    write_examples(tmp_path / "test", test.x, test.y)
    again = experiment.run_model(model, tmp_path / "test", outputs=Outputs(), say=lines.append)
    assert again["accuracy"] == result["accuracy"]
    save(fit(SVMConfig(), train, lines.append, lambda: False), model)
    assert load(model, tmp_path / "test")[0].scaling is None


def _write_rows(path, first_index, x, y):
    """As a user's file: what is not zero, with indices from the first one on."""
    lines = [
        " ".join([f"{label:g}", *(f"{j + first_index}:{row[j]!r}" for j in np.flatnonzero(row))])
        for row, label in zip(x.tolist(), y.tolist(), strict=True)
    ]
    path.write_text("\n".join([*lines, ""]))


def _fitted(folder, first_index, **config):
    """A regression, written; its model, and rows of which the last ones support nothing."""
    x = np.zeros((8, 5))
    x[:, 1] = np.arange(-4, 4) * 3
    x[:, 2] = np.arange(8) % 3
    x[6, 0] = x[7, 4] = 0.25
    y = np.array([1.0, 0.02, -0.05, -1, 0.03, -0.01, 0.02, 0])
    _write_rows(folder / "train", first_index, x, y)
    table, _ = read_tables(folder / "train", None)
    loss = "epsilon_insensitive"
    model = fit(SVMConfig(loss=loss, **config), table, lambda _: None, lambda: False)
    save(model, folder / "model")
    return model, x


KERNELS = [
    {"kernel": "rbf", "gamma": "0.5"},
    {"kernel": "rbf", "gamma": "0.5", "scale": "min_max"},
    {"kernel": "poly", "gamma": "0.01", "coef0": 1.0},
    {"multiclass": "one_vs_one", "scale": "max_abs"},
]
LINEAR = [{}, {"scale": "standard"}]


def _reload(folder, first_index, x):
    _write_rows(folder / "test", first_index, x, np.ones(len(x)))
    model, test = load(folder / "model", folder / "test")
    return model.predict(test.x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "first_index"),
    [(one, first) for first in (1, 0) for one in KERNELS] + [(one, 1) for one in LINEAR],
)
def test_a_model_file_predicts_as_its_estimator(config, first_index, tmp_path):
    model, x = _fitted(tmp_path, first_index, **config)
    if config == KERNELS[0]:
        assert not model.estimator.support_vectors_[:, [0, 4]].any()
    new = np.random.default_rng(0).normal(0, 2, (20, 5))
    for test in (x, new, new[:, :2], new[:, :1] * 0):
        expected = model.predict(np.pad(test, ((0, 0), (0, 5 - test.shape[1]))))
        found = _reload(tmp_path, first_index, test)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", KERNELS + LINEAR)
def test_features_that_training_lacks_only_change_distances(config, tmp_path):
    model, x = _fitted(tmp_path, 1, **config)
    expected = model.predict(x)
    if config == KERNELS[0]:  # the others weigh it by 0, or a constant feature becomes 0
        intercept = model.estimator.intercept_
        expected = (expected - intercept) * math.exp(-0.5 * 6 * 0.7**2) + intercept
    found = _reload(tmp_path, 1, np.pad(x, ((0, 0), (0, 6)), constant_values=0.7))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_zero_based_features_are_rejected_for_liblinear(tmp_path):
    _, x = _fitted(tmp_path, 1)
    with pytest.raises(InputError, match=r"test: features must be counted from 1 .* got index 0"):
        _reload(tmp_path, 0, x)
    train = Table("train", x, np.array([0, 1] * 4), zero_based=True)
    outputs = Outputs(model_out=tmp_path / "model")
    with pytest.raises(InputError, match=r"--model_out: train counts features from 0, .* from 1"):
        _run(SVMConfig(), train, outputs=outputs)


def test_a_large_index_that_needs_too_much_memory_is_rejected(tmp_path):
    _fitted(tmp_path, 1, **KERNELS[0])
    (tmp_path / "test").write_text("1 2147483647:1\n")
    with pytest.raises(InputError, match=r"test: 2147483648 features do not fit into memory"):
        load(tmp_path / "model", tmp_path / "test")


def test_regression_reports_an_error_instead_of_accuracy():
    x, y = (np.asarray(part) for part in load_diabetes(return_X_y=True))
    train, test = Table("a", x[:100], y[:100]), Table("b", x[100:150], y[100:150])
    config = SVMConfig(kernel="rbf", C=100, gamma="2", loss="epsilon_insensitive")
    result, _ = _run(config, train, test)
    oracle = sklearn_svm.SVR(C=100, gamma=2, epsilon=0.1, tol=1e-6).fit(train.x, train.y)
    error = math.sqrt(np.square(oracle.predict(test.x) - test.y).mean())
    assert result["rmse"] == pytest.approx(error, rel=1e-3)
    assert result["accuracy"] is None


def test_labels_that_training_lacks_are_reported_and_count_as_errors():
    train, test = _irises()
    some = Table("some", train.x[:50], train.y[:50])
    result, lines = _run(SVMConfig(), some, test)
    assert set(some.y) == {0, 1}
    assert result["accuracy"] <= 2 / 3
    notes = [line for line in lines if line.startswith("note: ")]
    assert notes == [
        "note: b: 25 of 75 samples have labels that the training set lacks, 2; they count as errors"
    ]


def test_a_stopped_fit_reports_its_best_point():
    train, test = _irises()
    result, lines = _run(SVMConfig(kernel="rbf"), train, test, stopped=lambda: True)
    assert result["interrupted"]
    assert not result["converged"]
    assert any(line.startswith("stopped: best point so far") for line in lines)
    with pytest.raises(KeyboardInterrupt):
        _run(SVMConfig(), train, cv=2, stopped=lambda: True)


def _scaling(scale, x):
    scaling = fit_scaling(scale, x)
    assert scaling is not None
    return scaling


@pytest.mark.parametrize(
    ("scale", "scaler"),
    [("min_max", MinMaxScaler()), ("standard", StandardScaler()), ("max_abs", MaxAbsScaler())],
)
def test_scaling_matches_scikit_learn_and_its_file(scale, scaler, tmp_path):
    generator = np.random.default_rng(0)
    x, new = generator.normal(2, 3, (2, 20, 4)) * (generator.random((2, 20, 4)) < 0.7)
    scaling = _scaling(scale, x)
    expected = scaler.fit(x).transform(new)
    scaling.write(tmp_path / "ranges")
    again = read_scaling(tmp_path / "ranges")
    for found in (
        scaling.apply(new),
        again.apply(new),
        _scaling(scale, sparse.csr_array(x)).apply(sparse.csr_array(new)),
    ):
        found = found.toarray() if sparse.issparse(found) else found
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_features_that_stay_zero_stay_sparse():
    x = sparse.csr_array(np.array([[0.0, 2.0], [3.0, 0.0]]))
    for scale in ("min_max", "max_abs"):
        found = _scaling(scale, x).apply(x)
        assert sparse.issparse(found)
        np.testing.assert_array_equal(found.toarray(), [[0, 1], [1, 0]])


def test_a_constant_feature_becomes_zero(tmp_path):
    scaling = _scaling("min_max", np.array([[5.0, 1.0], [5.0, 3.0]]))
    scaling.write(tmp_path / "ranges")
    assert (tmp_path / "ranges").read_text() == "x\n0 1\n2 1 3\n"
    np.testing.assert_array_equal(scaling.apply(np.array([[7.0, 2.0]])), [[0, 0.5]])


@pytest.mark.parametrize("rows", [60, 60_000])
@pytest.mark.parametrize("value", [0.1, 0.1 + 2e-17])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_a_standard_deviation_from_rounding_is_zero(rows, value, kind):
    x = np.full((rows, 1), 0.1)
    x[0] = value
    scaling = _scaling("standard", kind(x))
    found = scaling.apply(np.array([[0.1], [0.2]]))
    np.testing.assert_array_equal(found, [[0], [0]])
    varied = np.linspace(1e6, 1e6 + 1, 64)[:, None]
    expected = StandardScaler().fit_transform(varied)
    np.testing.assert_allclose(_scaling("standard", kind(varied)).apply(varied), expected, 1e-6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"C": -1.0}, "--C must be > 0, got -1.0"),
        ({"kernel": "rfb"}, r"--kernel.*'rfb'.*; did you mean 'rbf'"),
        (
            {"kernel": "rbf", "multiclass": "one_vs_rest"},
            "--multiclass must be one_vs_one for --kernel=rbf, got one_vs_rest",
        ),
        (
            {"kernel": "rbf", "loss": "squared_hinge"},
            "--loss must be hinge or epsilon_insensitive for --kernel=rbf",
        ),
        (
            {"kernel": "rbf", "intercept": "none"},
            "--intercept must be free for --kernel=rbf, got none",
        ),
        (
            {"kernel": "rbf", "gamma": "big"},
            "--gamma must be scale, auto or a number > 0, got 'big'",
        ),
        (
            {"penalty": "l1", "loss": "hinge"},
            "--loss must be squared_hinge for --penalty=l1, got hinge",
        ),
        ({"scale": "log"}, r"--scale.*'log'"),
        ({"tolerance": 0.0}, "--tolerance must be > 0, got 0.0"),
        ({"coef0": math.nan}, "--coef0 must be a finite number, got nan"),
        ({"coef0": -math.inf}, "--coef0 must be a finite number, got -inf"),
        ({"epsilon": math.nan}, "--epsilon must be a finite number >= 0, got nan"),
        ({"epsilon": math.inf}, "--epsilon must be a finite number >= 0, got inf"),
        ({"epsilon": -0.1}, "--epsilon must be a finite number >= 0, got -0.1"),
        ({"degree": -1}, "--degree must be a finite number >= 0, got -1"),
        ({"gamma": "0"}, "--gamma must be .* got '0'"),
        ({"gamma": "-1"}, "--gamma must be .* got '-1'"),
        ({"gamma": "nan"}, "--gamma must be .* got 'nan'"),
        ({"gamma": "inf"}, "--gamma must be .* got 'inf'"),
    ],
)
def test_invalid_configs(config, message):
    with pytest.raises(InputError, match=message):
        SVMConfig(**config).check()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1:0.5\n-1 2:x\n", "train, line 2"),
        ("1 1:0.5\n-1 2:nan\n", "train, line 2"),
        ("1 1:0.5\n1 2:1\n", "train: there must be at least two classes, got only 1"),
        ("0.5 1:0.5\n1 2:1\n", "train: classes must be integers, got 0.5"),
        ("1\n-1\n", "train: there must be at least one feature"),
    ],
)
def test_invalid_training_sets(text, message, tmp_path):
    (tmp_path / "train").write_text(text)
    with pytest.raises(InputError, match=message):
        read_tables(tmp_path / "train", None)[0].classes()


def test_a_test_set_has_no_more_features_and_may_have_fewer(tmp_path):
    for name, text in (("train", "1 1:1 3:1\n2 2:1\n"), ("few", "1 1:1\n"), ("many", "1 4:1\n")):
        (tmp_path / name).write_text(text)
    _, few = read_tables(tmp_path / "train", tmp_path / "few")
    assert few is not None
    assert few.x.shape == (1, 3)
    with pytest.raises(InputError, match="many, line 1"):
        read_tables(tmp_path / "train", tmp_path / "many")


def test_outputs_are_checked_before_the_fit(tmp_path):
    with pytest.raises(InputError, match=r"--result: .* its folder does not exist"):
        Outputs(result=tmp_path / "no" / "json").check(tested=True)
    with pytest.raises(InputError, match=r"--model_out: .* is a folder"):
        Outputs(model_out=tmp_path).check(tested=True)
    with pytest.raises(InputError, match="--predictions_out: needs a test set"):
        Outputs(predictions_out=tmp_path / "out").check(tested=False)


def test_a_table_must_be_finite():
    with pytest.raises(InputError, match="a: features must be finite"):
        Table("a", np.array([[np.nan]]), np.zeros(1))


@pytest.mark.parametrize("folds", [1, 76])
def test_folds_are_between_two_and_the_number_of_samples(folds):
    with pytest.raises(InputError, match=f"--cv must be >= 2 and <= 75, .* got {folds}"):
        _run(SVMConfig(), _irises()[0], cv=folds)


ONE_CLASS = {
    "libsvm": "svm_type c_svc\nkernel_type linear\nnr_class 1\ntotal_sv 0\nrho\nlabel 4\nnr_sv 0\n"
    "SV\n",
    "precomputed": "svm_type nu_svc\nkernel_type precomputed\nnr_class 1\ntotal_sv 0\nrho\n"
    "label 4\nnr_sv 0\nSV\n",
    "liblinear": "solver_type L2R_L2LOSS_SVC\nnr_class 1\nlabel 4\nnr_feature 2\nbias -1\nw\n0.5 \n"
    "-2 \n",
}


@pytest.mark.parametrize("text", ONE_CLASS.values(), ids=ONE_CLASS)
def test_a_model_of_one_class_predicts_it(text, tmp_path):
    model, test, out = tmp_path / "model", tmp_path / "test", tmp_path / "out"
    model.write_text(text)
    test.write_text("4 1:0.5 2:1\n4 1:1\n-1 2:3\n")
    said = []
    outputs = Outputs(predictions_out=out)
    result = experiment.run_model(model, test, outputs=outputs, say=said.append)
    assert out.read_text() == "4\n4\n4\n"
    assert result["accuracy"] == pytest.approx(2 / 3)


def test_a_precomputed_kernel_predicts_as_libsvm_does(tmp_path):
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(30, 3)), rng.normal(size=(9, 3))
    y = np.where(x[:, 0] * x[:, 1] > 0, 1, 2)
    kernel, test_kernel = np.exp(-cdist(x, x)), np.exp(-cdist(new, x))
    theirs = sklearn_svm.SVC(kernel="precomputed").fit(kernel, y)
    # libsvm's first class is the positive one, scikit-learn's second is.
    text = [
        *("svm_type c_svc", "kernel_type precomputed", "nr_class 2"),
        f"total_sv {len(theirs.support_)}",
        f"rho {float(theirs.intercept_[0])!r}",
        "label 1 2",
        f"nr_sv {theirs.n_support_[0]} {theirs.n_support_[1]}",
        "SV",
    ]
    text += [
        f"{float(-c)!r} 0:{row + 1} "
        for c, row in zip(theirs.dual_coef_[0], theirs.support_, strict=True)
    ]
    (tmp_path / "model").write_text("\n".join([*text, ""]))
    rows = [
        f"1 0:{i} " + " ".join(f"{j + 1}:{float(v)!r}" for j, v in enumerate(row))
        for i, row in enumerate(test_kernel, start=1)
    ]
    (tmp_path / "test").write_text("\n".join([*rows, ""]))
    outputs = Outputs(predictions_out=tmp_path / "out")
    experiment.run_model(tmp_path / "model", tmp_path / "test", outputs=outputs, say=lambda _: None)
    found = np.loadtxt(tmp_path / "out")
    np.testing.assert_array_equal(found, theirs.predict(test_kernel))
    assert len(set(found)) == 2


def test_a_truncated_file_of_ranges_is_rejected(tmp_path):
    path = tmp_path / "a.range"
    path.write_text("x\n-1 1\n1 0 2\n2 0 3.25")
    with pytest.raises(
        InputError, match=f"^{path}: the file is truncated, its last line has no line break$"
    ):
        read_scaling(path)
