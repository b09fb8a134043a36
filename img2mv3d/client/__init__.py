"""A client of `img2mv3d serve`, with the standard library alone."""

from img2mv3d.client.http import Client, Run, ServerError

__all__ = ["Client", "Run", "ServerError"]
