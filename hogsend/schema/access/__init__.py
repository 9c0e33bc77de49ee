"""Keys and the audit log on the wire."""
