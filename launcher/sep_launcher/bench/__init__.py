"""`sep bench`: every way of this machine measured, shown, kept in a report, compared."""
