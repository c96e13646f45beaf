"""Tests of what the benchmark makes of its figures. They measure nothing, and need no server."""
