"""What happens to events: pure logic, thin agents, and the command line."""
