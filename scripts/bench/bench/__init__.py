"""The benchmark of Stampede: what it measures, beside what, and how the figures are shown and compared."""
