"""The bookstore behind redirection: each workload in a network namespace of its own."""
