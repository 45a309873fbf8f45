"""Generates the reference pages of the documentation and the AsyncAPI document from the code.

`python -m ninezero.agents.reference` writes all of them; a test fails while one is out of date.
"""
