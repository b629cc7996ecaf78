-- Format 4: devices that are linked and unlinked, archives on their way, restored accounts.

-- This device on its way into an account, from before its first request until it is linked or the link is dead.
CREATE TABLE link_request (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  server TEXT NOT NULL,
  server_pin BLOB,
  name TEXT NOT NULL,
  registration INTEGER NOT NULL,
  device_secret BLOB NOT NULL,
  identity BLOB NOT NULL,
  token BLOB NOT NULL,
  prekey_next INTEGER NOT NULL,
  begun_at INTEGER NOT NULL,
  offering BLOB NOT NULL,                -- the state that shows the code
  invitation BLOB,                       -- the one that was answered: no other one is
  invited BLOB                           -- the state since then
) STRICT;

-- ---- the primary device

-- A device that somebody is adding, up to the signature.
CREATE TABLE addition (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  code TEXT NOT NULL,
  with_history INTEGER NOT NULL,
  inviting BLOB,                         -- the state since the offer was found to fit the code
  invited INTEGER NOT NULL DEFAULT 0,    -- the server has taken the invitation
  answer BLOB                            -- as it was verified
) STRICT;

-- A list that adds or removes a device: signed, and sent as it is until the server's word on it is known.
CREATE TABLE list_change (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  version INTEGER NOT NULL,
  list BLOB NOT NULL,
  device INTEGER NOT NULL,
  registration INTEGER NOT NULL,
  link BLOB,                             -- with the three below: the device is added
  completion BLOB,
  with_history INTEGER
) STRICT;

-- Devices that are to be removed by the next lists.
CREATE TABLE removal (
  device INTEGER PRIMARY KEY
) STRICT;

-- Devices that were linked and are still to be given the archive, or what was sealed to older lists.
CREATE TABLE handover (
  device INTEGER PRIMARY KEY,
  registration INTEGER NOT NULL,
  list_version INTEGER NOT NULL,         -- the first list with the device
  accepted_at INTEGER NOT NULL,          -- by the server's clock
  with_messages INTEGER NOT NULL,
  archive BLOB,                          -- set when the archive is cut
  key BLOB,
  messages_before INTEGER,               -- messages that are not in a part yet: those before this place
  done INTEGER NOT NULL DEFAULT 0,       -- messages in parts that were uploaded
  total INTEGER NOT NULL DEFAULT 0,
  announced INTEGER,                     -- the outbox row that names the parts
  finished INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE handover_part (
  device INTEGER NOT NULL REFERENCES handover (device) ON DELETE CASCADE,
  part INTEGER NOT NULL,
  messages INTEGER NOT NULL,
  size INTEGER NOT NULL,
  digest BLOB NOT NULL,
  sealed BLOB,                           -- until it is uploaded
  blob BLOB,                             -- where it lies since
  PRIMARY KEY (device, part)
) STRICT;

-- ---- a linked device

-- An archive that this device was given.
CREATE TABLE history_import (
  archive BLOB PRIMARY KEY,
  key BLOB NOT NULL,
  next_part INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE history_import_part (
  archive BLOB NOT NULL REFERENCES history_import (archive) ON DELETE CASCADE,
  part INTEGER NOT NULL,
  blob BLOB NOT NULL,
  size INTEGER NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (archive, part)
) STRICT;

-- Whose counters it has named, until all of it was read.
CREATE TABLE history_named (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  PRIMARY KEY (chat, account, device)
) STRICT, WITHOUT ROWID;
