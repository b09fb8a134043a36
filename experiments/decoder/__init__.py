"""What the parts of the cross-view decoder are worth."""
