"""The Faust transport: fetching by chunk, the offset tracker, and the consumer."""
