"""Kernels in CUDA C, which XLA's CUDA backend runs."""
