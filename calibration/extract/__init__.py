"""From published files to excerpts in `data/`, and to the series, traces and sessions of the catalogue."""
