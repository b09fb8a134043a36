"""Tables of methods: what is made of photos and latents, against the truth. Here are the words that they are asked for
by, so that commands know them before anything heavy is loaded."""

CONDITIONS = ("clean", "perturbed", "generated")  # how the latents of a case are made
FORMER_CONDITIONS = {"exact": "clean", "spoilt": "perturbed"}  # words of version 0.1.0
PROTOCOLS = ("gso30", "val", "dev", "test", "scans")
FROM_ABOVE = ("gso30", "scans")  # protocols whose camera may stand level or above
