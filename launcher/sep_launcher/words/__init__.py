"""What the command line says of itself and hears beside its commands: help, slips, settings."""
