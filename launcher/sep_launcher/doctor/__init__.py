"""Rules about everything that can be wrong with a machine, and who applies them."""
