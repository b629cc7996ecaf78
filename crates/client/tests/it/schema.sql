CREATE TABLE addition (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  code TEXT NOT NULL,
  with_history INTEGER NOT NULL,
  inviting BLOB,                         -- the state since the offer was found to fit the code
  invited INTEGER NOT NULL DEFAULT 0,    -- the server has taken the invitation
  answer BLOB                            -- as it was verified
) STRICT;

CREATE TABLE chat (
  id BLOB PRIMARY KEY,
  conversation BLOB NOT NULL UNIQUE,
  counter INTEGER NOT NULL DEFAULT 0,    -- the last one that this device gave
  read_up_to BLOB                        -- the newest stamp that was marked read here
, kind INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE TABLE contact (
  account BLOB PRIMARY KEY,
  name TEXT,
  claimed_phone TEXT,                    -- what content said; not shown before it was checked
  verified INTEGER NOT NULL DEFAULT 0,   -- the safety number was compared
  closed INTEGER NOT NULL DEFAULT 0,
  heard INTEGER NOT NULL DEFAULT 0       -- something of it was opened and verified
, blocked INTEGER NOT NULL DEFAULT 0, block_decided_at INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;

CREATE TABLE contact_untold (
  account BLOB PRIMARY KEY,
  accepted INTEGER NOT NULL              -- the person has accepted that the number leads there
) STRICT, WITHOUT ROWID;

CREATE TABLE delivery (
  message INTEGER NOT NULL REFERENCES message (seq),
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  delivered_at INTEGER,
  read_at INTEGER,
  PRIMARY KEY (message, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE device_list (
  account BLOB PRIMARY KEY,
  version INTEGER NOT NULL,
  list BLOB NOT NULL,
  fetched_at INTEGER NOT NULL,
  stale INTEGER NOT NULL DEFAULT 0       -- the server said that there is another one
) STRICT, WITHOUT ROWID;

CREATE TABLE device_removed (
  number INTEGER PRIMARY KEY,            -- in the order in which it was learned
  account BLOB NOT NULL,
  device_key BLOB NOT NULL,
  UNIQUE (account, device_key)
) STRICT;

CREATE TABLE early_receipt (
  message_id BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  chat BLOB NOT NULL,
  stamp BLOB NOT NULL,                   -- under which the device has the message
  at INTEGER NOT NULL,
  PRIMARY KEY (message_id, account, device)
) STRICT, WITHOUT ROWID;

CREATE INDEX early_receipt_account ON early_receipt (account);

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  batch INTEGER NOT NULL,                -- one a drain; what comes live has one of its own
  stamp BLOB,                            -- orders messages within what one drain brought
  kind TEXT NOT NULL,
  chat BLOB NOT NULL,
  message INTEGER REFERENCES message (seq),
  account BLOB,
  device INTEGER,
  first INTEGER,
  last INTEGER,
  word TEXT,
  ids BLOB,
  flag INTEGER
, removed BLOB) STRICT;

CREATE INDEX event_order ON event (batch, stamp, id);

CREATE TABLE "gap" (
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

CREATE INDEX gap_sender ON gap (account, device, chat, first);

CREATE TABLE group_chain (
  group_id BLOB PRIMARY KEY,
  epoch INTEGER NOT NULL,
  head BLOB NOT NULL,
  state BLOB NOT NULL,                   -- a snapshot: what was verified once is not verified again
  joined INTEGER NOT NULL DEFAULT 0,     -- this account is or was a member
  settled INTEGER NOT NULL DEFAULT 0,    -- all that removed devices up to this number did in it is known
  secret BLOB,                           -- 32 bytes, shown right by having opened the name
  name TEXT) STRICT, WITHOUT ROWID;

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

CREATE TABLE group_fork (
  group_id BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  PRIMARY KEY (group_id, epoch)
) STRICT, WITHOUT ROWID;

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

CREATE INDEX group_held_ask ON group_held (ask_at) WHERE ask_at IS NOT NULL;

CREATE INDEX group_held_group ON group_held (group_id, waits, account, device);

CREATE TABLE group_link_seed (
  group_id BLOB NOT NULL,
  seed BLOB NOT NULL,
  PRIMARY KEY (group_id, seed)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_member (
  group_id BLOB NOT NULL,
  account BLOB NOT NULL,
  since INTEGER NOT NULL,
  until INTEGER,                         -- the first epoch in which it is over
  role INTEGER NOT NULL,                 -- 0: member; 1: admin; 2: creator
  PRIMARY KEY (group_id, account, since)
) STRICT, WITHOUT ROWID;

CREATE INDEX group_member_now ON group_member (group_id, account) WHERE until IS NULL;

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

CREATE TABLE group_parcel (
  outbox INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
  group_id BLOB NOT NULL,
  account BLOB NOT NULL,
  number INTEGER,                        -- of the sender key; none: the secret alone
  served INTEGER NOT NULL DEFAULT 0,     -- messages before what is distributed
  waived INTEGER NOT NULL DEFAULT 0      -- the group does not wait for it any more
) STRICT;

CREATE INDEX group_parcel_group ON group_parcel (group_id, number, account);

CREATE TABLE group_resend (
  message INTEGER NOT NULL REFERENCES message (seq),
  account BLOB NOT NULL,
  resends INTEGER NOT NULL,
  PRIMARY KEY (message, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_secret (
  group_id BLOB NOT NULL,
  secret BLOB NOT NULL,
  PRIMARY KEY (group_id, secret)
) STRICT, WITHOUT ROWID;

CREATE TABLE group_wanted (
  group_id BLOB PRIMARY KEY,
  stamp BLOB                             -- of the envelope that showed it
) STRICT, WITHOUT ROWID;

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
, link BLOB) STRICT;

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

CREATE TABLE "heard" (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  counter INTEGER NOT NULL,              -- the highest
  first INTEGER NOT NULL,                -- nothing is known of those before
  PRIMARY KEY (chat, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE held (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  envelope_id BLOB NOT NULL,
  envelope BLOB NOT NULL,                -- as it was delivered
  opened BLOB,                           -- what came out of it, if the session could open it
  since INTEGER NOT NULL,
  UNIQUE (account, device, envelope_id)
) STRICT;

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

CREATE TABLE history_named (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  PRIMARY KEY (chat, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE key_change (
  phone TEXT PRIMARY KEY,
  old_account BLOB NOT NULL,
  account BLOB NOT NULL,
  noticed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX key_change_old ON key_change (old_account);

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

CREATE TABLE last_resort_use (
  kem_prekey INTEGER NOT NULL,
  signed_prekey INTEGER NOT NULL,
  base_key BLOB NOT NULL,
  PRIMARY KEY (kem_prekey, signed_prekey, base_key)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE list_contradiction (
  account BLOB NOT NULL,
  version INTEGER NOT NULL,
  PRIMARY KEY (account, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE list_device (
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  identity BLOB NOT NULL,
  PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE list_generation (
  only INTEGER PRIMARY KEY CHECK (only = 1),
  generation INTEGER NOT NULL
) STRICT;

CREATE TRIGGER list_generation_closed AFTER UPDATE OF closed ON contact WHEN old.closed <> new.closed BEGIN
  UPDATE list_generation SET generation = generation + 1;
END;

CREATE TRIGGER list_generation_insert AFTER INSERT ON device_list BEGIN
  UPDATE list_generation SET generation = generation + 1;
END;

CREATE TRIGGER list_generation_update AFTER UPDATE OF version, list, stale ON device_list
WHEN old.version <> new.version OR old.list <> new.list OR old.stale <> new.stale BEGIN
  UPDATE list_generation SET generation = generation + 1;
END;

CREATE TABLE list_seen (
  account BLOB NOT NULL,
  version INTEGER NOT NULL,
  hash BLOB NOT NULL,
  PRIMARY KEY (account, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE message (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, -- order of arrival here; orders what has no stamp yet
  id BLOB NOT NULL,
  chat BLOB NOT NULL,
  sender BLOB NOT NULL,
  device INTEGER NOT NULL,
  counter INTEGER NOT NULL,
  sent_at INTEGER NOT NULL,
  stamp BLOB,
  text TEXT NOT NULL,
  envelope_id BLOB,                      -- received: what it came in
  failure TEXT,                          -- ours: the word of the refusal that ended it
  resends INTEGER NOT NULL DEFAULT 0, group_epoch INTEGER,
  UNIQUE (sender, id)
) STRICT;

CREATE INDEX message_counter ON message (chat, sender, device, counter);

CREATE INDEX message_envelope ON message (envelope_id) WHERE envelope_id IS NOT NULL;

CREATE INDEX message_order ON message (chat, stamp, seq);

CREATE VIRTUAL TABLE message_text USING fts5 (
  text, content = 'message', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TABLE number (
  phone TEXT PRIMARY KEY,
  account BLOB NOT NULL UNIQUE,
  checked_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- first in, first out within a lane
  chat BLOB NOT NULL,
  lane INTEGER NOT NULL,                 -- 0: what history shows; 1: receipts, requests, resends
  message INTEGER REFERENCES message (seq),
  content BLOB NOT NULL,                 -- without views of lists, which are added when it is sealed
  envelope_id BLOB UNIQUE,               -- set when it is sealed
  tries INTEGER NOT NULL DEFAULT 0       -- those that did not succeed: the pause grows with them
, only_device INTEGER, readers_of BLOB, to_account INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE outbox_group (
  outbox INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
  epoch INTEGER NOT NULL,
  head BLOB NOT NULL,
  lists_digest BLOB NOT NULL,
  ciphertext BLOB NOT NULL
) STRICT;

CREATE INDEX outbox_lane ON outbox (chat, lane, id);

CREATE TABLE outbox_sealed (
  outbox INTEGER NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  registration INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  ciphertext BLOB NOT NULL,
  PRIMARY KEY (outbox, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE own_sender_key (
  group_id BLOB PRIMARY KEY,
  number INTEGER NOT NULL,               -- one more with each rotation
  served INTEGER NOT NULL,               -- messages that were encrypted with it
  made_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE "peer_read" (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  up_to BLOB NOT NULL,
  at INTEGER NOT NULL, marked BLOB,
  PRIMARY KEY (chat, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE prekey (
  kind TEXT NOT NULL CHECK (kind IN ('one_time', 'signed', 'kem')),
  id INTEGER NOT NULL,
  record BLOB NOT NULL,
  public_key BLOB NOT NULL,
  signature BLOB NOT NULL,
  last_resort INTEGER NOT NULL DEFAULT 0,
  made_at INTEGER NOT NULL,
  uploaded_at INTEGER,
  replaced_at INTEGER,                   -- the server gives out another one since then
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE "profile" (
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
, certificate BLOB) STRICT;

CREATE TABLE quarantine (
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  envelope_id BLOB NOT NULL,
  envelope BLOB NOT NULL,
  opened BLOB,                           -- what came out of it, if it could be opened
  reason TEXT NOT NULL,
  by_version TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (account, device, envelope_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE ratchet (
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE "receipt_due" (
  chat BLOB NOT NULL,
  account BLOB NOT NULL,
  message_id BLOB NOT NULL,
  stamp BLOB NOT NULL,
  PRIMARY KEY (chat, account, message_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE removal (
  device INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE renewal (
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  wanted INTEGER NOT NULL,
  done_at INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE resend_count (
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  what TEXT NOT NULL CHECK (what IN ('asked', 'answered')),
  at INTEGER NOT NULL
) STRICT;

CREATE INDEX resend_count_device ON resend_count (account, device, what, at);

CREATE TABLE resend_wanted (
  envelope_id BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  PRIMARY KEY (envelope_id, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen (
  sender BLOB NOT NULL,
  id BLOB NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY (sender, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX seen_at ON seen (at);

CREATE TABLE sender_key (
  group_id BLOB NOT NULL,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  record BLOB NOT NULL,
  PRIMARY KEY (group_id, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent (
  envelope_id BLOB PRIMARY KEY,
  chat BLOB NOT NULL,
  message INTEGER REFERENCES message (seq),
  content BLOB,                          -- of what history does not show
  stamp BLOB,
  at INTEGER NOT NULL,
  resends INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX sent_at ON sent (at);

CREATE TABLE sent_device (
  envelope_id BLOB NOT NULL REFERENCES sent (envelope_id) ON DELETE CASCADE,
  account BLOB NOT NULL,
  device INTEGER NOT NULL,
  identity BLOB NOT NULL,
  PRIMARY KEY (envelope_id, account, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent_group (
  envelope_id BLOB PRIMARY KEY REFERENCES sent (envelope_id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  served INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sent_message ON sent (message) WHERE message IS NOT NULL;
