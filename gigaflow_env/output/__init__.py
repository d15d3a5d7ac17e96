"""What an environment returns: NumPy arrays or torch tensors."""
