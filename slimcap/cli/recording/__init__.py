"""Recordings: captures in many files, which may be limited in number and size, and survive a crash."""
