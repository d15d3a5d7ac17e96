"""Benchmarks: any policy in any suite, with one command; results that can be compared, and looked at."""
