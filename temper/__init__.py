"""The client of Temper: `from temper.client import Temper, AsyncTemper`."""
