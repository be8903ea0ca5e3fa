"""Primals, duals, gaps and optimality conditions of support vector machines, as pure functions."""
