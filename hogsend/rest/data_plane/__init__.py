"""The data plane, what products send in: a module for each of events, contacts and emails."""
