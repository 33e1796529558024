"""Kernels in C++, which XLA's CPU backend calls."""
