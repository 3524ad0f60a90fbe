"""One model in memory: what it is, its tokenizer, its device, and the passes that are made over it."""
