"""Fitting, cross-validation and prediction for `launch.svm`."""
