"""The modules that a released config may name. Constructor arguments are the config's; tensors are batched (b, t, ...).

The reference keeps each sample as its own tensor [1, t, ...] in a list; all samples of a call have one shape, so here
a list is one tensor.
"""
