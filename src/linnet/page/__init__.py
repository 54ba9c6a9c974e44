"""The page: a model that runs in a browser, on the engine as WebAssembly."""
