"""Support vector machines with scikit-learn's interface.

Public: the six estimators, which are also available as `jaxml.svm.SVC` and so on.
"""

from jaxml.svm.estimators._linear import LinearSVC, LinearSVR
from jaxml.svm.estimators._nu_svc import NuSVC
from jaxml.svm.estimators._one_class import OneClassSVM
from jaxml.svm.estimators._svc import SVC
from jaxml.svm.estimators._svr import SVR

__all__ = ["SVC", "SVR", "LinearSVC", "LinearSVR", "NuSVC", "OneClassSVM"]
