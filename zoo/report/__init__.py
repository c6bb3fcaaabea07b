"""What people read: tables, model cards and figures."""
