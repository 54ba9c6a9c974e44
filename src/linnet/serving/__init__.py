"""linnet behind HTTP: predictors by name, answered beside an event loop, within limits. Needs the extra `serve`."""
