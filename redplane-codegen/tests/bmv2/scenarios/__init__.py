"""One file an app, one function a behaviour."""
