"""Container images of the runtime: Dockerfile, compose file, constraints per variant."""
