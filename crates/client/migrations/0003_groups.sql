-- Format 3: groups.

-- A linked device's own: the account key's word for it, as it came with the link.
ALTER TABLE profile ADD COLUMN certificate BLOB;

-- ---- chains

-- A group whose chain was verified here, as far as it is known.
CREATE TABLE group_chain (
  group_id BLOB PRIMARY KEY,
  epoch INTEGER NOT NULL,
  head BLOB NOT NULL,
  state BLOB NOT NULL,                   -- a snapshot: what was verified once is not verified again
  joined INTEGER NOT NULL DEFAULT 0,     -- this account is or was a member
  settled INTEGER NOT NULL DEFAULT 0,    -- all that removed devices up to this number did in it is known
  secret BLOB,                           -- 32 bytes, shown right by having opened the name
  name TEXT,
  link_seed BLOB                         -- of the invite link, where this device knows it
) STRICT, WITHOUT ROWID;

CREATE TABLE group_operation (
  group_id BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  hash BLOB NOT NULL,
  operation_id BLOB NOT NULL,
  operation BLOB NOT NULL,
  admins_send INTEGER NOT NULL,          -- whether only admins may send from here on
  stamp BLOB,                            -- known once its row was delivered
  UNIQUE (group_id, epoch)
) STRICT;
CREATE INDEX group_operation_id ON group_operation (group_id, operation_id);

-- Who was a member in which role, from one epoch on and up to another one.
CREATE TABLE group_member (
  group_id BLOB NOT NULL,
  account BLOB NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER,                         -- the first epoch in which it is over
  role INTEGER NOT NULL,                 -- 0: member; 1: admin; 2: creator
  PRIMARY KEY (group_id, account, since)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_member_now ON group_member (group_id, account) WHERE until IS NULL;

-- Chains of which something is missing here.
CREATE TABLE group_wanted (
  group_id BLOB PRIMARY KEY,
  stamp BLOB                             -- of the envelope that showed it
) STRICT, WITHOUT ROWID;

-- Epochs of which somebody showed another operation: each is told once.
CREATE TABLE group_fork (
  group_id BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  PRIMARY KEY (group_id, epoch)
) STRICT, WITHOUT ROWID;

-- Devices that were on a verified list and are not any more: nothing that they sign from then on counts.
CREATE TABLE device_removed (
  number INTEGER PRIMARY KEY,            -- in the order in which it was learned
  account BLOB NOT NULL,
  device_key BLOB NOT NULL,
  UNIQUE (account, device_key)
) STRICT;

-- Secrets that somebody gave us and that have not opened anything yet.
CREATE TABLE group_secret (
  group_id BLOB NOT NULL,
  secret BLOB NOT NULL,
  PRIMARY KEY (group_id, secret)
) STRICT, WITHOUT ROWID;

-- Changes that this device asked for, until their outcome is known and told.
CREATE TABLE group_change (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  group_id BLOB NOT NULL,
  operation_id BLOB NOT NULL UNIQUE,
  command BLOB NOT NULL,                 -- hash of what was asked: the same again is the same change
  operation BLOB,                        -- as it was signed last
  secret BLOB,                           -- of a group that is made or joined
  link_seed BLOB,                        -- of a link that is made
  state INTEGER NOT NULL DEFAULT 0,      -- 0: never left; 1: outcome unknown; 2: on the chain
  at INTEGER NOT NULL
) STRICT;
CREATE INDEX group_change_group ON group_change (group_id);

-- ---- sender keys

-- The devices of every verified list, so that whole groups can be compared at once.
CREATE TABLE list_device (
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  identity BLOB NOT NULL,
  PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;

-- Counts changes of what decides whom a group message goes to beside the chain.
CREATE TABLE list_generation (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  generation INTEGER NOT NULL
) STRICT;
INSERT INTO list_generation (only, generation) VALUES (1, 0);
CREATE TRIGGER list_generation_insert AFTER INSERT ON device_list BEGIN
  UPDATE list_generation SET generation = generation + 1;
END;
CREATE TRIGGER list_generation_update AFTER UPDATE OF version, list, stale ON device_list
WHEN old.version <> new.version OR old.list <> new.list OR old.stale <> new.stale BEGIN
  UPDATE list_generation SET generation = generation + 1;
END;
CREATE TRIGGER list_generation_closed AFTER UPDATE OF closed ON contact WHEN old.closed <> new.closed BEGIN
  UPDATE list_generation SET generation = generation + 1;
END;

-- This device's present sender key in each group.
CREATE TABLE own_sender_key (
  group_id BLOB PRIMARY KEY,
  number INTEGER NOT NULL,               -- one more with each rotation
  served INTEGER NOT NULL,               -- messages that were encrypted with it
  made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Devices that our sender keys were sealed to. Under another identity it is another device.
CREATE TABLE key_holder (
  group_id BLOB NOT NULL,
  number INTEGER NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  identity BLOB NOT NULL,
  served INTEGER NOT NULL,               -- messages before it: this device cannot open those
  accepted INTEGER NOT NULL DEFAULT 0,   -- the server has stored the distribution
  PRIMARY KEY (group_id, number, account, device, identity)
) STRICT, WITHOUT ROWID;

-- Rows of the outbox that carry a sender key or a group's secret to a member.
CREATE TABLE group_parcel (
  outbox INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
  group_id BLOB NOT NULL,
  account BLOB NOT NULL,
  number INTEGER,                        -- of the sender key; none: the secret alone
  served INTEGER NOT NULL DEFAULT 0,     -- messages before what is distributed
  waived INTEGER NOT NULL DEFAULT 0      -- the group does not wait for it any more
) STRICT;
CREATE INDEX group_parcel_group ON group_parcel (group_id, number, account);

-- ---- messages

-- The one ciphertext of an outbox row to a group, and the view under which it was made.
CREATE TABLE outbox_group (
  outbox INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
  epoch INTEGER NOT NULL,
  head BLOB NOT NULL,
  lists_digest BLOB NOT NULL,
  ciphertext BLOB NOT NULL
) STRICT;

-- Which sender key sealed what was sent to a group, so that it is sent again only to one who had it.
CREATE TABLE sent_group (
  envelope_id BLOB PRIMARY KEY REFERENCES sent (envelope_id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  served INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Our own in groups: the epoch in which it was sealed, which says who its recipients are.
ALTER TABLE message ADD COLUMN group_epoch INTEGER;

-- How often a message to a group was sent again to one of its members.
CREATE TABLE group_resend (
  message INTEGER NOT NULL REFERENCES message (seq),
  account BLOB NOT NULL,
  resends INTEGER NOT NULL,
  PRIMARY KEY (message, account)
) STRICT, WITHOUT ROWID;

-- What waits for more of a chain, or for its sender's key.
CREATE TABLE group_held (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  group_id BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  envelope_id BLOB NOT NULL,
  envelope BLOB NOT NULL,                -- as it was delivered
  opened BLOB,                           -- what came out of it, if it could be opened
  waits INTEGER NOT NULL,                -- 0: for the chain; 1: for the key
  since INTEGER NOT NULL,
  ask_at INTEGER,                        -- when it is asked for; none while it is not, or was
  UNIQUE (account, device, envelope_id)
) STRICT;
CREATE INDEX group_held_group ON group_held (group_id, waits, account, device);
CREATE INDEX group_held_ask ON group_held (ask_at) WHERE ask_at IS NOT NULL;
