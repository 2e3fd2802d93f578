"""How the numbers of the catalogue come out of measurements; README.md says in what order to read.

Not part of the installed package: the environments read only the catalogue's YAML.
"""
