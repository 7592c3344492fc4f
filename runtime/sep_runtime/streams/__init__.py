"""Blocks in, blocks out, over any length."""
