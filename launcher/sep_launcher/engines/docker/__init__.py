"""The runtime in a container, by docker-py."""
