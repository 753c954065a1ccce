"""Run folder, stages, resume, outcomes and statistics."""
