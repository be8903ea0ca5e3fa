"""Benchmarks of `launch.bench`: jaxml and other libraries, timed alternately."""
