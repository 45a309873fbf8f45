"""Fault tests on real engines: a deployment is broken on purpose, and its promises are checked."""
