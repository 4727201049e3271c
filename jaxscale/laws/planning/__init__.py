"""Which runs to train next, so that an interval becomes as narrow as wanted for the least compute.

wants.py choices.py         what is to be known, and how narrowly; the runs to choose from and their cost
beliefs.py                  what a pilot or a prior says of the law and of the noise
designs.py                  the cheapest design by the delta method: greedy, then exchange
rehearsal.py                the same design through our own fit, on simulated tables
planner.py batches.py       plan(), and train_until() in batches
documents.py page.py        a plan as plain values, on a terminal and as a page
"""
