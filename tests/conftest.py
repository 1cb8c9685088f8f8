"""What every test needs: no property is timed."""

from hypothesis import settings

# A busy machine is not a bug: only what a property says may fail it. The rest stays as Hypothesis has it, which on a
# continuous-integration machine means the same examples each time.
settings.register_profile("rnncallbacks", deadline=None)
settings.load_profile("rnncallbacks")
