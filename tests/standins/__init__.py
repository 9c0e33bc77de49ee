"""Local servers that behave like the services Hogsend talks to, faults included. Real sockets, no network."""
