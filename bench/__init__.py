"""Measurements. Nothing is asserted: figures are printed, with what they are to be compared to."""
