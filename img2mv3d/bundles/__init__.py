"""Weights: what a bundle holds, where it comes from, which networks it makes."""
