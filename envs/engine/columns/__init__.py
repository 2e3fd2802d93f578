"""What engines read of a scenario: every quantity of pools, models, classes, sites and power nodes, declared once.

Each record's source says what one pool, class, site or node is read from. `FleetArrays` puts the records together,
`cpp/columns.hpp` lists the same names for C++, and importing the native engine compares the two.
"""
