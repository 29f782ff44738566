"""The verbs of the command line, by subject.

Their modules import what they need inside the verbs: `foretell list` should not wait
for libraries that load models.
"""
