"""API keys and the audit log in the schema."""
