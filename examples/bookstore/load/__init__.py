"""Load clients: processes of their own, outside Plait, that never retry and report every call.

Each writes JSON lines (`report.Batch`) to standard output until SIGTERM.
"""
