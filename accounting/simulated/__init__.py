"""What the simulated provider says, and what it charges.

Nothing here knows how the rest of this package reads, prices or stores a call: two sums that are to be held
against each other must not share a line of arithmetic.
"""
