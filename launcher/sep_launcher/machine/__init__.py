"""Facts and habits of this computer."""
