"""Pure logic: plain data in, plain data out. No clock, no I/O, no Faust, no logging."""
