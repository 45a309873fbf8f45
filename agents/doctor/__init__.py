"""`ninezero doctor`: checks of a deployment."""
