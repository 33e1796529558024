"""What tests share: recorded states, the compiled program of MT50, probes for training."""
