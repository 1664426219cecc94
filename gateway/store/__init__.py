"""All database access: the tables, their history, and the steps of the flow as methods."""

from gateway.store.errors import StoreError, StoreUnavailable, StoreUnusable
from gateway.store.schema import Migrated, migrate
from gateway.store.settings import StoreSettings
from gateway.store.store import Store

__all__ = ["Migrated", "Store", "StoreError", "StoreSettings", "StoreUnavailable", "StoreUnusable", "migrate"]
