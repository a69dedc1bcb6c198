"""``python -m examples.bookstore.demo``: the bookstore on real Envoys, every claim measured."""
