"""The databases that a store must do its work on alike."""

import pytest

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.stores)]
"""Parameters for a fixture; the real PostgreSQL runs with the stores' tests."""
