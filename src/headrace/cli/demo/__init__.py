"""The demonstrations: replayed players (`headrace demo`) and real ones (`headrace demo-live`), each ending in a report."""
