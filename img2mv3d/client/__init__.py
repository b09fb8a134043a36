"""A client of `img2mv3d serve`, with the standard library alone: add-ons copy it as it is."""

from img2mv3d.client.http import Client, Run, ServerError

__all__ = ["Client", "Run", "ServerError"]
