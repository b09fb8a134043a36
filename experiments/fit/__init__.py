"""How good and how robust the surface fit is."""
