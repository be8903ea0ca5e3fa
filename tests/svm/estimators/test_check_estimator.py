"""scikit-learn's checks of estimators."""

import contextlib
from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from jaxml.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM

pytestmark = pytest.mark.slow

_TO_A_TOLERANCE = (
    "repeated samples have the optimum of one weighted sample only up to `tol`, and gamma depends "
    "on the unweighted variance; the check requires equal digits, and is an expected failure of "
    "scikit-learn's own estimators, too"
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
    with contextlib.suppress(SkipTest):  # checks that need optional packages
        check(estimator)
