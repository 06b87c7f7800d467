"""The earth mover's distance between two sets of local vectors ("nodes"), as DeepEMD uses it.

    distance                    the distance, its optimal flow and its exact gradients; the logits of DeepEMD
    solvers                     the solvers by their names in a YAML, and the threads they share
    network_simplex             the exact solver, compiled by numba
    interior_point              the solver for any device, and for costs with a quadratic term
    node_similarity             the costs and the weights of two images' nodes
    structured_layer            class nodes fine-tuned to classify the supports
    structured_layer_compiled   the same steps compiled by numba

`distance` and `structured_layer` stand on the solvers; no solver imports them.
"""
