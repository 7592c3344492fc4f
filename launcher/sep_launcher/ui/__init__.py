"""The page: what `sep run` conducts, conducted by a browser of this machine."""
