CREATE TABLE service (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    incarnation BLOB NOT NULL,
    pepper BLOB NOT NULL
) STRICT;
CREATE TABLE accounts (
    id BLOB PRIMARY KEY NOT NULL,
    key BLOB NOT NULL,
    phone TEXT UNIQUE,
    list_version INTEGER NOT NULL,
    list BLOB NOT NULL,
    created_by BLOB NOT NULL
) STRICT;
CREATE TABLE devices (
    account BLOB NOT NULL REFERENCES accounts (id),
    device INTEGER NOT NULL,
    registration INTEGER NOT NULL,
    device_key BLOB NOT NULL,
    token_hash BLOB NOT NULL,
    connection_number INTEGER NOT NULL,
    last_connected INTEGER NOT NULL,
    PRIMARY KEY (account, device)
) STRICT, WITHOUT ROWID;
CREATE TABLE prekeys (
    account BLOB NOT NULL,
    device INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
    id INTEGER NOT NULL,
    public_key BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (account, device, kind),
    FOREIGN KEY (account, device) REFERENCES devices ON DELETE CASCADE
) STRICT;
CREATE TABLE one_time (
    account BLOB NOT NULL,
    device INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
    id INTEGER NOT NULL,
    public_key BLOB,
    signature BLOB,
    PRIMARY KEY (account, device, kind, id),
    FOREIGN KEY (account, device) REFERENCES devices ON DELETE CASCADE
) STRICT;
CREATE INDEX one_time_left ON one_time (account, device, kind, id) WHERE public_key IS NOT NULL;
CREATE TABLE given (
    account BLOB NOT NULL,
    device INTEGER NOT NULL,
    to_account BLOB NOT NULL,
    to_device INTEGER NOT NULL,
    to_registration INTEGER NOT NULL,
    at INTEGER NOT NULL,
    signed_id INTEGER NOT NULL,
    signed_key BLOB NOT NULL,
    signed_signature BLOB NOT NULL,
    kem_id INTEGER NOT NULL,
    kem_key BLOB NOT NULL,
    kem_signature BLOB NOT NULL,
    kem_last_resort INTEGER NOT NULL,
    one_time_id INTEGER,
    one_time_key BLOB,
    PRIMARY KEY (account, device, to_account, to_device, to_registration),
    FOREIGN KEY (account, device) REFERENCES devices ON DELETE CASCADE
) STRICT;
CREATE TABLE registrations (
    session BLOB PRIMARY KEY NOT NULL,
    phone TEXT NOT NULL,
    code_hash BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    wrong_tries INTEGER NOT NULL,
    proved INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX registrations_by_phone ON registrations (phone);
CREATE INDEX registrations_by_end ON registrations (expires_at);
