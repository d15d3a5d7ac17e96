"""Measuring throughput."""
