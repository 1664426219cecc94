"""The front door: SMTP from clients, in our own loop, with the session and the envelope of aiosmtpd."""
