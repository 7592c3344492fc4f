"""Inference: a Job in, stems on disk and Events out. Importing this package loads no torch."""
