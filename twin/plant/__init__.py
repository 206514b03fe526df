"""Simulated clusters: they take decisions, run tasks from their own queues and answer with events."""

from twin.plant.plant import Plant

__all__ = ["Plant"]
