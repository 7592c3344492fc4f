"""From a command line to a plan: what, with which model, where."""
