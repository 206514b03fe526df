"""A run as one offline HTML page: what it cost beside the baselines, and where and when the work ran.

``render(data)`` takes the structs of ``streams.report.data`` and returns the page; nothing is fetched when it is opened.
"""

from streams.report.data import ClusterResult, Flow, PolicyResult, ReportData, RunSeries, ZoneSeries
from streams.report.page import render

__all__ = ["ClusterResult", "Flow", "PolicyResult", "ReportData", "RunSeries", "ZoneSeries", "render"]
