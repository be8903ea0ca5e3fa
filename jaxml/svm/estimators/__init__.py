"""Support vector machines with scikit-learn's interface.

Public: the six estimators, which are also available as `jaxml.svm.SVC` and so on.
"""

from jaxml.svm.estimators._classifiers import SVC, NuSVC
from jaxml.svm.estimators._linear import LinearSVC, LinearSVR
from jaxml.svm.estimators._single_output import SVR, OneClassSVM

__all__ = ["SVC", "SVR", "LinearSVC", "LinearSVR", "NuSVC", "OneClassSVM"]
