"""The speed benchmark: contenders, measurement, goals, report and chart."""
