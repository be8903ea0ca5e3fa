"""Model files of libsvm and liblinear, whose files and decisions are copied here."""

import gzip
import itertools
import re
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files import LiblinearModel, LibsvmModel, read_model, write_model
from jaxml.svm.files._liblinear_model import SOLVER_TYPES

# svm-train of libsvm 3.37 and train of liblinear 2.50 wrote the files, with the options named, of
# 8 rows of 3 classes or the 6 of classes 3 and -1, and each line of numbers with a space at its
# end; the decisions for X are those of their Python modules for the file.
X = np.array([[0.75, 1, 0, 0.1], [-1.5, 0.25, 1.5, 0], [0.25, -1.5, 0, 1], [0.1, 0, 0.2, 0]])

C_SVC_RBF = """\
svm_type c_svc
kernel_type rbf
gamma 0.5
nr_class 3
total_sv 8
rho 0.26459216854810563 0.066951299660952354 -0.20248343453359863
label 3 -1 7
nr_sv 3 3 2
SV
0.38737660978160615 0.49328300882979675 1:0.5 2:1.25
0.34718588722789884 0 1:0.75 2:1 4:0.1
2 0.84302539336599314 1:0.25 2:0.5 4:0.3
-0.3385882741801578 0.42321712627284663 1:-1 3:2
-0.39597422282934719 0.38121008873723128 1:-1.5 2:0.25 3:1.5
-2 0.95924828004690132 1:0.1 3:0.2
-0.6383477670763037 -0.76730367803085398 2:-1 4:2
-0.69796063511948625 -0.99637181702612532 1:0.25 2:-1.5 4:1
"""
C_SVC_POLY = """\
svm_type c_svc
kernel_type polynomial
degree 2
gamma 0.5
coef0 1
nr_class 2
total_sv 2
rho 0.37979531288146973
label 3 -1
nr_sv 1 1
SV
2 1:0.25 2:0.5 4:0.3
-2 1:0.1 3:0.2
"""
NU_SVC_SIGMOID = """\
svm_type nu_svc
kernel_type sigmoid
gamma 0.10000000000000001
coef0 0.5
nr_class 2
total_sv 4
rho -0.047983958842054149
label 3 -1
nr_sv 2 2
SV
2.212879440148841 1:0.5 2:1.25
11.064397200744196 1:0.25 2:0.5 4:0.3
-2.212879440148841 1:-1.5 2:0.25 3:1.5
-11.064397200744196 1:0.1 3:0.2
"""
EPSILON_SVR_LINEAR = """\
svm_type epsilon_svr
kernel_type linear
nr_class 2
total_sv 4
rho -3.2158835255324618
SV
0.96819145996153233 1:0.5 2:1.25
-0.45219250913622899 1:-1 3:2
1.4840010491746964 1:0.25 2:-1.5 4:1
-2 1:0.1 3:0.2
"""
ONE_CLASS_RBF = """\
svm_type one_class
kernel_type rbf
gamma 0.5
nr_class 2
total_sv 7
rho 0.9212665253594603
SV
0.58801883390313492 1:0.5 2:1.25
0.16668731613121934 1:0.75 2:1 4:0.1
0.4983049974828011 1:-1 3:2
0.47814175992628272 1:-1.5 2:0.25 3:1.5
0.61145908126374915 2:-1 4:2
0.51599060302708921 1:0.25 2:-1.5 4:1
0.34139740826572362 1:0.1 3:0.2
"""
C_SVC_PROBABILITY = """\
svm_type c_svc
kernel_type rbf
gamma 0.5
nr_class 2
total_sv 6
rho 0.26459216854810563
label 3 -1
probA -1.0290693122968095
probB 0.14852777054342528
nr_sv 3 3
SV
0.38737660978160615 1:0.5 2:1.25
0.34718588722789884 1:0.75 2:1 4:0.1
2 1:0.25 2:0.5 4:0.3
-0.3385882741801578 1:-1 3:2
-0.39597422282934719 1:-1.5 2:0.25 3:1.5
-2 1:0.1 3:0.2
"""
PRECOMPUTED = """\
svm_type c_svc
kernel_type precomputed
nr_class 2
total_sv 2
rho 0.24249996244907379
label 3 -1
nr_sv 1 1
SV
2 0:5
-2 0:6
"""
# file, options, decisions for X
LIBSVM = {
    "c_svc rbf": (
        C_SVC_RBF,  # -s 0 -t 2 -g 0.5 -c 2
        [
            [0.9999690129529493, 1.0089063960563605, 0.638084502755627],
            [-1.0004916202113443, -0.009558333600218294, 1.0000083656256922],
            [-0.4280520308864816, -1.0001727911589424, -1.000210118181733],
            [-0.3848578762308097, 0.6424338932508744, 1.0000060408049933],
        ],
    ),
    "c_svc polynomial": (
        C_SVC_POLY,  # -s 0 -t 1 -g 0.5 -r 1 -d 2 -c 2
        [[1.1597953121185305], [-1.1597953128814695], [-1.1300296878814697], [-0.4307328128814696]],
    ),
    "nu_svc sigmoid": (
        NU_SVC_SIGMOID,  # -s 1 -t 3 -g 0.1 -r 0.5 -n 0.4
        [[1.0054368754753344], [-0.9999997666918768], [-0.5096752435840982], [0.00906390791661777]],
    ),
    "epsilon_svr linear": (
        EPSILON_SVR_LINEAR,  # -s 3 -t 0 -c 2 -p 0.5
        [[3.1789877576978043], [-0.6555673161947615], [6.50035007327502], [3.065735372019037]],
    ),
    "one_class rbf": (
        ONE_CLASS_RBF,  # -s 2 -t 2 -g 0.5 -n 0.4
        [
            [0.0002514558842869885],
            [0.0001843761871888061],
            [-0.00022477800210107812],
            [0.0001843665202823086],
        ],
    ),
}

L2LOSS_SVC = """\
solver_type L2R_L2LOSS_SVC
nr_class 3
label 3 -1 7
nr_feature 4
bias 1
w
0.32059238405884116 -0.58601700850498617 -0.038576138920057179
0.91452112728924584 -0.29715931587341499 -0.70157706023874211
-0.33472416152822287 0.40604701314040825 -0.20327492201653366
0.10834831529259098 -0.91224472835502279 0.42800053792651305
-0.2285829785728008 -0.061043299750747432 -0.61523300413938664
"""
L2LOSS_SVC_BINARY = """\
solver_type L2R_L2LOSS_SVC
nr_class 2
label 3 -1
nr_feature 4
bias -1
w
0.29167695444466368
0.67177370302356232
-0.4654211560804975
0.31653282703147284
"""
MCSVM_CS_BINARY = """\
solver_type MCSVM_CS
nr_class 2
label 3 -1
nr_feature 4
bias -1
w
0.18287671232876701 -0.18287671232876707
0.49452054794520534 -0.49452054794520545
-0.23287671232876739 0.23287671232876711
0.29999999999999999 -0.30000000000000004
"""
L1LOSS_SVR_DUAL = """\
solver_type L2R_L1LOSS_SVR_DUAL
nr_class 2
nr_feature 4
bias 0.5
w
1.4415615439942424
0.41289212719929713
-0.02804157406027824
3.1558552409586702
2.0023632905639142
"""
ONECLASS_SVM = """\
solver_type ONECLASS_SVM
nr_class 2
nr_feature 4
bias -1
rho 0.49486152799173494
w
0.30297514438048517
0.27437060289269422
0.58511742962195412
0.83413979782763747
"""
LIBLINEAR = {
    "L2R_L2LOSS_SVC": (
        L2LOSS_SVC,  # -s 2 -B 1
        [
            [0.937217268289835, -0.8889398448384044, -1.3029421147755205],
            [-0.9829275151310854, 1.3527629037489903, -1.037675443843787],
            [-1.4118682581993682, -0.6740533064218942, 0.8554890894152253],
            [-0.2634685724725613, -0.0384355979731644, -0.659745602434699],
        ],
    ),
    "L2R_L2LOSS_SVC of two classes": (
        L2LOSS_SVC_BINARY,  # -s 2
        [
            [0.9221847015602074],
            [-0.9677037400318512],
            [-0.6182084888927046],
            [-0.06391653577163313],
        ],
    ),
    "MCSVM_CS of two classes": (
        MCSVM_CS_BINARY,  # -s 4, of which liblinear's module shows the first of two decisions
        [
            [0.6616780821917806, -0.6616780821917806],
            [-0.5000000000000002, 0.5000000000000002],
            [-0.3960616438356163, 0.3960616438356163],
            [-0.02828767123287678, 0.02828767123287678],
        ],
    ),
    "L2R_L1LOSS_SVR_DUAL": (
        L1LOSS_SVR_DUAL,  # -s 13 -B 0.5
        [[2.810830454572803], [-1.0999999999999992], [3.8980890814402422], [1.1397294848693256]],
    ),
    "ONECLASS_SVM": (
        ONECLASS_SVM,  # -s 21 -n 0.4
        [
            [0.09015441296908694],
            [-0.00305544940635799],
            [0.00346615159198249],
            [-0.3475405276292956],
        ],
    ),
}
FILES = {name: text for name, (text, _) in (LIBSVM | LIBLINEAR).items()} | {
    "c_svc with probabilities": C_SVC_PROBABILITY,  # -s 0 -t 2 -g 0.5 -c 2 -b 1
    "c_svc precomputed": PRECOMPUTED,  # -s 0 -t 4 -c 2
    "one_class with density marks": ONE_CLASS_RBF.replace(
        "SV\n", "prob_density_marks -5.3 -1.6 -0.9 -0.4 -0.08 0.2 0.7 1.4 2.1 4.2\nSV\n"
    ),
    "epsilon_svr with noise": EPSILON_SVR_LINEAR.replace("SV\n", "probA 2.7752723499269409\nSV\n"),
    "epsilon_svr without vectors": (
        "svm_type epsilon_svr\nkernel_type linear\nnr_class 2\ntotal_sv 0\nrho -3\nSV\n"
    ),
    "c_svc of one class": (
        "svm_type c_svc\nkernel_type linear\nnr_class 1\ntotal_sv 0\nrho\nlabel 3\nnr_sv 0\nSV\n"
    ),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model"


def read_text(path, text) -> Any:
    path.write_text(text)
    return read_model(path)


def kernel(model, x, vectors):
    products = x @ vectors.T
    match model.kernel_type:
        case "polynomial":
            return (model.gamma * products + model.coef0) ** model.degree
        case "sigmoid":
            return np.tanh(model.gamma * products + model.coef0)
        case "rbf":
            return np.exp(-model.gamma * ((x[:, None] - vectors) ** 2).sum(-1))
    return products


def libsvm_decisions(model, x):
    """A decision for each pair of classes, by the definition."""
    values = kernel(model, x, model.support_vectors.toarray())
    if model.labels is None:
        return values @ model.coefficients.T - model.rho
    ends = np.cumsum(model.num_support)
    of = [slice(end - n, end) for end, n in zip(ends, model.num_support, strict=True)]
    pairs = itertools.combinations(range(len(model.labels)), 2)
    decisions = [
        values[:, of[a]] @ model.coefficients[b - 1, of[a]]
        + values[:, of[b]] @ model.coefficients[a, of[b]]
        for a, b in pairs
    ]
    return np.stack(decisions, 1) - model.rho


@pytest.mark.parametrize("name", LIBSVM)
def test_decisions_match_libsvm(path, name):
    text, decisions = LIBSVM[name]
    model = read_text(path, text)
    assert isinstance(model, LibsvmModel)
    assert f"{model.svm_type} {model.kernel_type}" == name
    np.testing.assert_allclose(libsvm_decisions(model, X), decisions, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LIBLINEAR)
def test_decisions_match_liblinear(path, name):
    text, decisions = LIBLINEAR[name]
    model = read_text(path, text)
    assert isinstance(model, LiblinearModel)
    assert model.solver_type in name
    found = X @ model.weights.T + model.intercept
    np.testing.assert_allclose(found, decisions, rtol=1e-12, atol=1e-12)


def test_header_fields(path):
    model = read_text(path, C_SVC_RBF)
    np.testing.assert_array_equal(model.labels, [3, -1, 7], strict=True)
    np.testing.assert_array_equal(model.num_support, [3, 3, 2], strict=True)
    assert (model.gamma, model.prob_a, model.prob_b, model.support) == (0.5, None, None, None)
    model = read_text(path, C_SVC_PROBABILITY)
    assert (model.prob_a.tolist(), model.prob_b.tolist()) == (
        [-1.0290693122968095],
        [0.14852777054342528],
    )
    model = read_text(path, PRECOMPUTED)
    np.testing.assert_array_equal(model.support, [4, 5], strict=True)
    assert model.support_vectors is None
    model = read_text(path, FILES["one_class with density marks"])
    assert model.density_marks[[0, 9]].tolist() == [-5.3, 4.2]
    model = read_text(path, L1LOSS_SVR_DUAL)
    assert (model.bias, model.bias_weights.tolist(), model.labels) == (
        0.5,
        [2.0023632905639142],
        None,
    )
    assert read_text(path, ONECLASS_SVM).rho == 0.49486152799173494


@pytest.mark.parametrize("name", FILES)
def test_written_models_are_equal_to_the_last_bit(path, name):
    model = read_text(path, FILES[name])
    write_model(path, model)
    # All that libsvm and liblinear write otherwise is how long a number is.
    words = [line.split() for line in FILES[name].splitlines()]
    found = [line.split() for line in path.read_text().splitlines()]
    assert [list(map(number, line)) for line in found] == [
        list(map(number, line)) for line in words
    ]


def number(word):
    """A word of a file, as the number that it is."""
    index, colon, value = word.rpartition(":")
    try:
        return index, colon, float(value)
    except ValueError:
        return word


@pytest.mark.parametrize("ending", ["\r\n", " \n", "\n \n", "\t \r\n"])
@pytest.mark.parametrize("text", [C_SVC_RBF, PRECOMPUTED, L2LOSS_SVC])
def test_other_line_ends_and_compressed_files_are_read(tmp_path, path, text, ending):
    plain = read_text(tmp_path / "plain", text)
    write_model(path, plain)
    expected = path.read_bytes()
    path.write_bytes(gzip.compress(text.replace("\n", ending).encode()))
    write_model(path, read_model(path))
    assert path.read_bytes() == expected


def test_numbers_of_features_and_first_indices(path):
    read: Any = read_model
    model = read_text(path, C_SVC_POLY)
    assert model.support_vectors.shape == (2, 4)
    assert read(path, num_features=6).support_vectors.shape == (2, 6)
    assert read(path, zero_based=True).support_vectors.shape == (2, 5)
    write_model(path, model, zero_based=True)
    assert path.read_text().endswith("2 0:0.25 1:0.5 3:0.3\n-2 0:0.1 2:0.2\n")
    same = read(path, zero_based=True).support_vectors
    np.testing.assert_array_equal(same.toarray(), model.support_vectors.toarray())
    path.write_text(L2LOSS_SVC)
    assert read(path, num_features=4).weights.shape == (3, 4)


# By file: what is replaced by what, and the problem.
REFUSED = {
    C_SVC_RBF: [
        ("c_svc", "svc", "line 1: svm_type must be one of c_svc, nu_svc, one_class"),
        ("rbf", "", "line 2: kernel_type must have 1 value, got 0"),
        ("gamma 0.5\n", "", "gamma is missing before line 9"),
        ("gamma 0.5", "gamma nan", "line 3: gamma must be a finite number, got 'nan'"),
        ("gamma 0.5", "gamma 1_0", "line 3: gamma must be a finite number, got '1_0'"),
        ("gamma 0.5", "gama 0.5", "line 3: key must be one of svm_type, kernel_type"),
        ("gamma 0.5", "svm_type c_svc", "line 3: duplicate key 'svm_type'"),
        ("class 3", "class 3.5", "line 4: nr_class must be an integer, got '3.5'"),
        ("class 3", "class -3", "line 4: nr_class must be >= 1, got -3"),
        ("sv 8", "sv -1", "line 5: total_sv must be >= 0, got -1"),
        (
            "class 3",
            "class 999999999999999",
            "line 7: label must have 999999999999999 values, got 3",
        ),
        ("sv 8", "sv 9", "line 5: total_sv must be 8, the number of lines after SV, got 9"),
        ("sv 8", "sv 99999999999", "line 5: total_sv must be 8, the number of lines after"),
        ("rho 0.2", "rho 1 0.2", "line 6: rho must have 3 values, got 4"),
        ("label 3", "label a", "line 7: label must be an integer, got 'a'"),
        ("sv 3 3 2", "sv 3 3 3", "`num_support` must have the sum 8, got 9"),
        ("sv 3 3 2", "sv 9 -3 2", "line 8: nr_sv must be >= 0, got -3"),
        ("SV\n", "", "line 9: key must be one of svm_type"),
        ("\n-2 0.9", "\n-2 x 0.9", "line 15: coefficient must be a finite number, got 'x'"),
        ("\n-2 0.95924828004690132", "\n-2", "line 15: a coefficient is missing before '1:0.1'"),
        (
            "\n-2 0.95924828004690132 1:0.1 3:0.2",
            "\n-2",
            "line 15: line must have 2 coefficients, got 1",
        ),
        ("1:0.1 ", "0:0.1 ", "line 15: index must be >= 1, got '0:0.1'"),
        ("1:0.1 ", "3:0.1 ", "line 15: indices must increase, got '3:0.2' after index 3"),
        ("1:0.1 ", "qid:1 ", "line 15: a qid, unlike the other lines"),
    ],
    L2LOSS_SVC: [
        ("class 3", "class 0", "line 2: nr_class must be >= 1, got 0"),
        ("_SVC", "", "line 1: solver_type must be one of L2R_LR, L2R_L2LOSS_"),
        ("class 3", "class 999999999999", "line 3: label must have 999999999999 values, got 3"),
        (
            "feature 4",
            "feature 99999999",
            "there must be 100000000 lines after w for nr_feature 99999999",
        ),
        ("bias 1", "bias -1", "there must be 4 lines after w for nr_feature 4 and bias -1, got 5"),
        ("w\n", "", "line 6: key must be one of solver_type, nr_class"),
        ("0.10834831529259098 ", "", "line 10: line must have 3 weights, got 2"),
        ("0.10834831529259098", "inf", "line 10: weight must be a finite number, got 'inf'"),
        ("0.10834831529259098", "1 2", "line 10: line must end after 3 weights, got '0.428"),
    ],
    EPSILON_SVR_LINEAR: [
        ("class 2", "class 3", "line 3: nr_class must be 2 for epsilon_svr, got 3"),
    ],
    PRECOMPUTED: [
        ("0:6", "1:6", "line 10: index must be <= 0, got '1:6'"),
        ("0:6", "0:1.5", "lines after SV must have 0:index, with an index >= 1"),
        ("0:6", "", "lines after SV must have 0:index, with an index >= 1"),
    ],
    L2LOSS_SVC_BINARY: [
        ("32\n", "32 1:2\n", "line 8: line must end after 1 weight, got '1:2'"),
    ],
    L1LOSS_SVR_DUAL: [
        ("class 2", "class 1", "line 2: nr_class must be 2 for L2R_L1LOSS_SVR_DUAL, got 1"),
    ],
    ONECLASS_SVM: [
        ("rho 0.49486152799173494\n", "", "rho is missing before line 6"),
    ],
}


@pytest.mark.parametrize(
    ("text", "old", "new", "problem"),
    [(text, *row) for text, rows in REFUSED.items() for row in rows],
)
def test_invalid_lines_are_rejected(path, text, old, new, problem):
    assert text.count(old) == 1 or old == "1:0.1 "
    path.write_text(text[::-1].replace(old[::-1], new[::-1], 1)[::-1])
    with pytest.raises(InputError, match=re.escape(problem)) as error:
        read_model(path)
    assert str(error.value).startswith(f"{path}")
    assert str(error.value).isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("text", [C_SVC_RBF, PRECOMPUTED, L2LOSS_SVC, ONECLASS_SVM])
def test_a_truncated_file_is_rejected(path, text):
    for length in range(len(text)):
        path.write_text(text[:length])
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_model(path)


@pytest.mark.parametrize("text", [C_SVC_RBF, L2LOSS_SVC])
@pytest.mark.parametrize("packed", [False, True])
def test_a_last_line_without_a_line_break_is_truncated(path, text, packed):
    content = text.encode()[:-3]
    path.write_bytes(gzip.compress(content) if packed else content)
    message = f"{path}: the file is truncated, its last line has no line break"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        read_model(path)


# As svm-train of libsvm writes it, whose svm_train finds no pair of classes and so no vector.
ONE_CLASS_LABEL = """\
svm_type c_svc
kernel_type rbf
gamma 0.5
nr_class 1
total_sv 0
rho
label 4
nr_sv 0
SV
"""


def test_a_classifier_of_one_class(path):
    path.write_text(ONE_CLASS_LABEL)
    model: Any = read_model(path)
    assert model.labels.tolist() == [4]
    assert model.rho.shape == (0,)
    write_model(path, model)
    assert path.read_text() == ONE_CLASS_LABEL


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"1 1:0.5\n", b"\0\xff" * 1000, b"svm_typec_svc\n"]
)
def test_other_files_are_rejected(path, content):
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=re.escape(f"{path}, line 1: a model file must begin with svm_type")
    ):
        read_model(path)


def test_binary_data_after_the_first_line_is_rejected(path):
    path.write_bytes(b"svm_type c_svc\n" + np.random.default_rng(0).bytes(10_000))
    with pytest.raises(InputError, match=re.escape(f"{path}, line 2: ")) as error:
        read_model(path)
    assert str(error.value).isprintable()


def test_another_number_of_features_is_rejected(path):
    path.write_text(L2LOSS_SVC)
    with pytest.raises(
        InputError, match=re.escape(f"{path}: the model must have 5 features, got 4")
    ):
        read_model(path, num_features=5)
    path.write_text(C_SVC_RBF)
    with pytest.raises(InputError, match=re.escape("line 11: index must be <= 3, got '4:0.1'")):
        read_model(path, num_features=3)
    with pytest.raises(ValueError, match="`num_features` must be >= 1, got 0"):
        read_model(path, num_features=0)


def test_a_file_that_cannot_be_read_or_written_is_an_error(tmp_path, path):
    with pytest.raises(InputError, match=re.escape(f"{path}: No such file or directory")):
        read_model(path)
    for text in (C_SVC_RBF, L2LOSS_SVC):
        model = read_text(path, text)
        with pytest.raises(InputError, match="cannot be written"):
            write_model(tmp_path / "no" / "model", model)


def test_numbers_that_are_not_finite_are_not_written(path):
    path.write_text("before")
    with pytest.raises(ValueError, match="must be finite"):
        write_model(path, LiblinearModel("L2R_L2LOSS_SVR", np.array([[np.nan, 1]])))
    fields = {"svm_type": "nu_svr", "kernel_type": "linear", "coefficients": np.ones((1, 2))}
    with pytest.raises(ValueError, match="must be finite"):
        write_model(path, LibsvmModel(**fields, rho=np.array([np.inf]), support_vectors=VECTORS))
    assert path.read_text() == "before"


RHO = np.zeros(1)
VECTORS = sparse.csr_array(np.eye(2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"svm_type": "svc"}, "`svm_type` must be in c_svc, nu_svc"),
        ({"kernel_type": "gauss"}, "`kernel_type` must be in linear, polynomial"),
        ({"coefficients": np.ones(2)}, "`coefficients` must have two dimensions, got shape (2,)"),
        ({"coefficients": np.ones((2, 2))}, "`coefficients` must have shape (1, 2), got (2, 2)"),
        ({"rho": np.ones(2)}, "`rho` must have shape (1,), got (2,)"),
        ({"support_vectors": None}, "`support_vectors` must have shape (2,), got None"),
        ({"kernel_type": "precomputed"}, "`support` must have shape (2,), got None"),
        ({"labels": np.ones(2)}, "`labels` must have shape None, got (2,)"),
        ({"svm_type": "c_svc"}, "`labels` must have shape (2,), got None"),
        ({"prob_a": np.ones(2)}, "`prob_a` must have shape (1,), got (2,)"),
        ({"density_marks": np.ones(2)}, "`density_marks` must have shape (10,), got (2,)"),
        (
            {"svm_type": "c_svc", "labels": np.ones(2), "num_support": np.ones(2) * 2},
            "`num_support` must have the sum 2, got 4",
        ),
    ],
)
def test_inconsistent_libsvm_models_are_rejected(fields, message):
    good = {"svm_type": "nu_svr", "kernel_type": "linear", "coefficients": np.ones((1, 2))}
    good |= {"rho": RHO, "support_vectors": VECTORS}
    LibsvmModel(**good)
    with pytest.raises(ValueError, match=re.escape(message)):
        LibsvmModel(**good | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"solver_type": "SVC"}, "`solver_type` must be in L2R_LR, L2R_L2LOSS"),
        ({"labels": None}, "`labels` must be given for L2R_LR, got None"),
        ({"rho": 1.0}, "`rho` must be None for L2R_LR, got 1.0"),
        ({"weights": np.ones((3, 2))}, "`weights` must have shape [1, features], got (3, 2)"),
        ({"weights": np.ones(2)}, "`weights` must have shape [1, features], got (2,)"),
        ({"bias": 1.0}, "`bias_weights` must have shape (1,) for bias 1.0, got None"),
        (
            {"bias_weights": np.ones(1)},
            "`bias_weights` must have shape None for bias -1.0, got (1,)",
        ),
    ],
)
def test_inconsistent_liblinear_models_are_rejected(fields, message):
    good = {"solver_type": "L2R_LR", "weights": np.ones((1, 2)), "labels": np.array([1, 2])}
    LiblinearModel(**good)
    with pytest.raises(ValueError, match=re.escape(message)):
        LiblinearModel(**good | fields)


def test_every_name_of_liblinear_is_known():
    # The table of linear.cpp.
    table = """L2R_LR L2R_L2LOSS_SVC_DUAL L2R_L2LOSS_SVC L2R_L1LOSS_SVC_DUAL MCSVM_CS L1R_L2LOSS_SVC
    L1R_LR L2R_LR_DUAL L2R_L2LOSS_SVR L2R_L2LOSS_SVR_DUAL L2R_L1LOSS_SVR_DUAL ONECLASS_SVM"""
    assert sorted(SOLVER_TYPES) == sorted(table.split())
