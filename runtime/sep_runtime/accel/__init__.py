"""Faster ways to do an operator, behind one seam; each proves itself before it is used.

Networks call `operators`; what they get is the plain operator of torch or a way that gave the same
numbers on this device and was faster here for this shape. `plain()` turns every other way off.
"""
