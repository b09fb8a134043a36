"""Photo -> alpha: plain backgrounds keyed out, a saliency network, graph cuts, edges. Arrays in and out."""
