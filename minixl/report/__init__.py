"""Reports on runs: report.html, curves.csv, and the comparison of several runs."""
