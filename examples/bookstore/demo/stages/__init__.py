"""The stages of the demo, in the order in which they run; each claims what it measured."""
