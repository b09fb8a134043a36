"""The shape network and what is made of its bodies: mixtures of weights, scores on `dev`, sheets to look at."""
