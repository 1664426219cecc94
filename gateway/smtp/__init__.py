"""The front door: SMTP from clients, on aiosmtpd inside our own loop."""
