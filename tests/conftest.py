"""Properties are tried with the same rows on every run; `make fuzz` tries new ones."""

from hypothesis import settings

settings.register_profile("steady", derandomize=True, database=None)
settings.register_profile("fuzz", print_blob=True)
settings.load_profile("steady")
