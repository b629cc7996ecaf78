-- Format 6: what the devices of one account tell each other, and what they were told before they can place it.

-- People who are blocked: nothing that they write one-to-one is shown. The latest decision counts.
ALTER TABLE contact ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contact ADD COLUMN block_decided_at INTEGER NOT NULL DEFAULT 0;

-- Contacts of which our other devices were not told yet what became known here.
CREATE TABLE contact_untold (
  account BLOB PRIMARY KEY,
  accepted INTEGER NOT NULL              -- the person has accepted that the number leads there
) STRICT, WITHOUT ROWID;

-- Seeds of invite links: one of them is that of the link which the chain has, or will have.
CREATE TABLE group_link_seed (
  group_id BLOB NOT NULL,
  seed BLOB NOT NULL,
  PRIMARY KEY (group_id, seed)
) STRICT, WITHOUT ROWID;
INSERT INTO group_link_seed (group_id, seed)
  SELECT group_id, link_seed FROM group_chain WHERE link_seed IS NOT NULL;
ALTER TABLE group_chain DROP COLUMN link_seed;

-- What devices have said of messages of ours that are not here yet: another device of ours wrote them.
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

-- How far our messages were marked as read, in the order of stamps: behind `up_to` while there are many.
ALTER TABLE peer_read ADD COLUMN marked BLOB;
UPDATE peer_read SET marked = up_to;

-- The link that a device came by, so that who began to add it can go on.
ALTER TABLE handover ADD COLUMN link BLOB;
