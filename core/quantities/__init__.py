"""Any two per-head quantities beside each other: what there is, how it is obtained, and whether they order heads alike."""
