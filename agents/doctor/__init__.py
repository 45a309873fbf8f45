"""`ninezero doctor`: checks a deployment from outside and says what to do. It changes nothing."""
