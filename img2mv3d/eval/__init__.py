"""Tables of methods: what is made of photos and latents, against the truth."""
