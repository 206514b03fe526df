"""Where events come from: event logs, importers of datasets, and the built-in scenario."""
