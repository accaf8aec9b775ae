"""What a run shows of itself: report.html, curves.csv, and the comparison of several runs."""
