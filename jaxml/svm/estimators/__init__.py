"""Support vector machines as estimators of scikit-learn."""

from jaxml.svm.estimators.linear_svc import LinearSVC
from jaxml.svm.estimators.linear_svr import LinearSVR
from jaxml.svm.estimators.nu_svc import NuSVC
from jaxml.svm.estimators.one_class import OneClassSVM
from jaxml.svm.estimators.svc import SVC
from jaxml.svm.estimators.svr import SVR

__all__ = ["SVC", "SVR", "LinearSVC", "LinearSVR", "NuSVC", "OneClassSVM"]
