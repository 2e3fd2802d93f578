"""From excerpts to the coefficients of the catalogue; the README beside the folders has the order."""
