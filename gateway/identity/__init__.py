"""Who a mail is from, as far as others vouch for it: `vouching` asks, `settings` says whom."""
