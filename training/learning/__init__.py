"""How networks learn: the one training loop, its folder, options, losses and faces as tensors."""
