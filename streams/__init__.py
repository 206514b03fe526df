"""Everything that runs the core: the embedded loop, stores, and the command line as composition root."""
