"""Mail-to-SMS gateway for the PUSH MSISDN mail protocol."""

__version__ = "0.1.0"
