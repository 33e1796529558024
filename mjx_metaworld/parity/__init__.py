"""The live CPU reference, and how far the environment here is from it: rewards, resets, steps, episodes, pictures."""
