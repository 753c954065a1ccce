"""chatgenbench: benchmark and evaluation harness for automatic text-to-image.

A chat becomes a plan, a plan becomes a picture, both get scores, scores become a table people can defend.
"""

__version__ = "0.1.0"
