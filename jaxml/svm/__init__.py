"""Support vector machines: the objective as pure functions, solvers, estimators, files."""
