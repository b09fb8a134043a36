"""Many photos on many machines: an existing engine carries them, one policy says which is next; results are shared."""
