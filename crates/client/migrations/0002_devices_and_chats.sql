-- Format 2: accounts with several devices, chats of any kind, numbers that move to another account.

-- A linked device has no account secret; the sync key is shared by the account's devices.
CREATE TABLE profile_2 (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  server TEXT NOT NULL,
  server_pin BLOB,
  phone TEXT NOT NULL,
  name TEXT,
  account BLOB NOT NULL,
  account_secret BLOB,                   -- on the primary device alone
  device INTEGER NOT NULL,
  registration INTEGER NOT NULL,
  device_secret BLOB NOT NULL,
  identity BLOB NOT NULL,
  token BLOB NOT NULL,
  sync_key BLOB,                         -- 32 bytes; seals what only our own devices read
  list_version INTEGER NOT NULL,         -- the highest version that a signature was ever asked for
  registration_session TEXT,             -- bound to the one-time code
  registered INTEGER NOT NULL DEFAULT 0,
  revoked INTEGER NOT NULL DEFAULT 0,    -- this device is not on the list any more
  joined INTEGER NOT NULL DEFAULT 0,     -- it came to an account with a past, and was not told of it yet
  connection_number INTEGER NOT NULL DEFAULT 0,
  incarnation BLOB,                      -- of the server that has our list and keys
  highest_stamp BLOB,
  prekey_next INTEGER NOT NULL,
  keys_unsure INTEGER NOT NULL DEFAULT 0, -- an upload of one-time keys has an unknown outcome
  clock_offset INTEGER,                  -- server's clock minus ours, in milliseconds
  clock_suspect INTEGER,                 -- an offset that no second connection has confirmed yet
  clock_heard INTEGER NOT NULL DEFAULT 0 -- the server's clock at the last believed hello
) STRICT;
INSERT INTO profile_2
  (only, server, server_pin, phone, name, account, account_secret, device, registration, device_secret, identity,
   token, list_version, registration_session, registered, connection_number, incarnation, highest_stamp,
   prekey_next, keys_unsure, clock_offset, clock_suspect, clock_heard)
  SELECT only, server, server_pin, phone, name, account, account_secret, device, registration, device_secret,
         identity, token, list_version, registration_session, registered, connection_number, incarnation,
         highest_stamp, prekey_next, keys_unsure, clock_offset, clock_suspect, clock_heard
  FROM profile;
DROP TABLE profile;
ALTER TABLE profile_2 RENAME TO profile;

-- Numbers that lead to another account than before, until the person accepts it: messages to them wait.
CREATE TABLE key_change (
  phone TEXT PRIMARY KEY,
  old_account BLOB NOT NULL,
  account BLOB NOT NULL,
  noticed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX key_change_old ON key_change (old_account);

-- ---- chats: an account's or a group's id, and which of the two it is

ALTER TABLE chat RENAME COLUMN account TO id;
ALTER TABLE chat ADD COLUMN kind INTEGER NOT NULL DEFAULT 0; -- 0: with one account; 1: a group

CREATE TABLE peer_read_2 (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  up_to BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (chat, account, device)
) STRICT, WITHOUT ROWID;
INSERT INTO peer_read_2 (chat, account, device, up_to, at) SELECT chat, chat, device, up_to, at FROM peer_read;
DROP TABLE peer_read;
ALTER TABLE peer_read_2 RENAME TO peer_read;

CREATE TABLE heard_2 (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  counter INTEGER NOT NULL,              -- the highest
  first INTEGER NOT NULL,                -- nothing is known of those before
  PRIMARY KEY (chat, account, device)
) STRICT, WITHOUT ROWID;
INSERT INTO heard_2 (chat, account, device, counter, first) SELECT chat, chat, device, counter, 1 FROM heard;
DROP TABLE heard;
ALTER TABLE heard_2 RENAME TO heard;

CREATE TABLE gap_2 (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  chat BLOB NOT NULL,
  account BLOB NOT NULL,                 -- of the device that sent what is missing
  device INTEGER NOT NULL,
  first INTEGER NOT NULL,                -- 0 for an envelope
  last INTEGER NOT NULL,
  envelope_id BLOB UNIQUE,
  stamp BLOB NOT NULL,                   -- of the envelope that showed the gap
  reason TEXT NOT NULL,
  silent INTEGER NOT NULL DEFAULT 0,     -- nothing that history shows: no event is logged
  shown INTEGER NOT NULL DEFAULT 0,      -- an event was logged
  asked INTEGER NOT NULL DEFAULT 0,
  ask_at INTEGER NOT NULL,
  noticed_at INTEGER NOT NULL,
  permanent INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO gap_2
  (id, chat, account, device, first, last, envelope_id, stamp, reason, silent, shown, asked, ask_at, noticed_at,
   permanent)
  SELECT id, account, account, device, first, last, envelope_id, stamp, reason, silent, shown, asked, ask_at,
         noticed_at, permanent
  FROM gap;
DROP TABLE gap;
ALTER TABLE gap_2 RENAME TO gap;
CREATE INDEX gap_sender ON gap (account, device, chat, first);

-- ---- going out

ALTER TABLE outbox RENAME COLUMN recipient TO chat;
-- Which devices of the recipient the content is for, where it is not for all: one, or those that could read what
-- was sealed in an envelope. The others get a content that says nothing.
ALTER TABLE outbox ADD COLUMN only_device INTEGER;
ALTER TABLE outbox ADD COLUMN readers_of BLOB;
ALTER TABLE sent RENAME COLUMN recipient TO chat;

-- Owed to the account that wrote the message, wherever it was written.
CREATE TABLE receipt_due_2 (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  message_id BLOB NOT NULL,
  stamp BLOB NOT NULL,
  PRIMARY KEY (chat, account, message_id)
) STRICT, WITHOUT ROWID;
INSERT INTO receipt_due_2 (chat, account, message_id, stamp)
  SELECT chat, chat, message_id, stamp FROM receipt_due;
DROP TABLE receipt_due;
ALTER TABLE receipt_due_2 RENAME TO receipt_due;

-- ---- what people are told

ALTER TABLE event ADD COLUMN removed BLOB; -- numbers of devices that are gone, a byte each; the new ones are `ids`
UPDATE event SET kind = 'key_changed' WHERE kind = 'number_moved';
