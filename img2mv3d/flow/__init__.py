"""What follows what, and how little of it must be done: the flow of the stages."""
