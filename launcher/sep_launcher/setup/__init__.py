"""Preparing this machine: environments, images, models."""
