-- Format 5: messages to an account that was named by its id.

-- The person named the account and not its number, so the row goes to it alone, wherever the number leads.
ALTER TABLE outbox ADD COLUMN to_account INTEGER NOT NULL DEFAULT 0;
