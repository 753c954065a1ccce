"""Raw records to a benchmark: collect, parse, filter, dedupe, split, role-play, publish."""
