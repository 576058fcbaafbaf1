"""What runs before shipping and never on the Space: examples, Learn's data, the static edition, benches.

`python -m app.bake` makes all that follows from the shipped weights anew.
"""
