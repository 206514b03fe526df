"""Importers: datasets of others as event logs."""

from producers.importers.tidy import ImportReport, import_dataset

__all__ = ["ImportReport", "import_dataset"]
