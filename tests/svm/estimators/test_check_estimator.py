"""scikit-learn's own checks of an estimator."""

import contextlib
from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxml.svm.estimators import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM

_TO_A_TOLERANCE = (
    "copies of a row and its weight have the same optimum, which is reached to `tol`, and gamma by "
    "the unweighted variance, as scikit-learn's; the check wants equal digits, as it does of "
    "scikit-learn's own, where it is an expected failure, too"
)
_EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": _TO_A_TOLERANCE,
    "check_sample_weight_equivalence_on_sparse_data": _TO_A_TOLERANCE,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [LinearSVC(), LinearSVR(), SVC(), NuSVC(), SVR(), OneClassSVM(), SVC(kernel="precomputed")],
    expected_failed_checks=lambda estimator: {} if isinstance(estimator, LinearSVC) else _EXPECTED,
)
def test_estimator(estimator, check):
    with contextlib.suppress(SkipTest):  # what needs packages that nothing here has to do with
        check(estimator)
