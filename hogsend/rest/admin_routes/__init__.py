"""The routes of the admin plane, a module for each part of the contract."""
