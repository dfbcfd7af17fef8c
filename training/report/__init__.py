"""Everything that a run writes and says for people: metrics, pictures, progress, summary."""
