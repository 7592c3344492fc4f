"""Many tracks on many workers: who does what, and what becomes of it when parts of it die."""
