"""The commands of `python -m core`: each has `configure(parser)`, `run(options)` and `text(result)`."""
