"""Inputs of an environment: keys of either form, and checks of what callers give."""
