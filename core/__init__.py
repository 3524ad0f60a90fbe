"""HeadScope's science and its plumbing: pure functions of (model, probe, options), without a browser."""
