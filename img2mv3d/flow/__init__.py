"""The flow of the stages: their order, their inputs, their cache, a run's folder."""
