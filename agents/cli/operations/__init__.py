"""Commands for those who operate a deployment."""
