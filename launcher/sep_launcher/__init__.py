"""The host side of sep: probe the machine, choose a route, start the runtime, tell the truth."""
