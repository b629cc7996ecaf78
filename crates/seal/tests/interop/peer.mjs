// The official Signal client as a peer, driven over standard input and output: one JSON object a line.
// Binary values are hex. It keeps its state in memory, as serialized records, so that every step goes
// through storage.

import { createInterface } from "node:readline";
import * as signal from "@signalapp/libsignal-client";

const bytes = (text) => new Uint8Array(Buffer.from(text, "hex"));
const text = (value) => Buffer.from(value).toString("hex");

class Sessions extends signal.SessionStore {
  records = new Map();
  async saveSession(name, record) {
    this.records.set(name.toString(), record.serialize());
  }
  async getSession(name) {
    const record = this.records.get(name.toString());
    return record ? signal.SessionRecord.deserialize(record) : null;
  }
  async getExistingSessions(addresses) {
    return Promise.all(addresses.map((address) => this.getSession(address)));
  }
}

class Identities extends signal.IdentityKeyStore {
  known = new Map();
  constructor(key, registration) {
    super();
    this.key = key;
    this.registration = registration;
  }
  async getIdentityKey() {
    return this.key;
  }
  async getLocalRegistrationId() {
    return this.registration;
  }
  async saveIdentity(name, key) {
    this.known.set(name.toString(), key.serialize());
    return signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity(name, key) {
    const known = this.known.get(name.toString());
    return !known || Buffer.compare(known, key.serialize()) === 0;
  }
  async getIdentity(name) {
    const known = this.known.get(name.toString());
    return known ? signal.PublicKey.deserialize(known) : null;
  }
}

// All prekey stores have the same shape: serialized records by id.
const recordsOf = (type) => ({
  records: new Map(),
  async save(id, record) {
    this.records.set(id, record.serialize());
  },
  async get(id) {
    const record = this.records.get(id);
    if (!record) throw new Error(`no prekey ${id}`);
    return type.deserialize(record);
  },
});

class Prekeys extends signal.PreKeyStore {
  inner = recordsOf(signal.PreKeyRecord);
  savePreKey = (id, record) => this.inner.save(id, record);
  getPreKey = (id) => this.inner.get(id);
  removePreKey = async (id) => void this.inner.records.delete(id);
}

class SignedPrekeys extends signal.SignedPreKeyStore {
  inner = recordsOf(signal.SignedPreKeyRecord);
  saveSignedPreKey = (id, record) => this.inner.save(id, record);
  getSignedPreKey = (id) => this.inner.get(id);
}

class KemPrekeys extends signal.KyberPreKeyStore {
  inner = recordsOf(signal.KyberPreKeyRecord);
  saveKyberPreKey = (id, record) => this.inner.save(id, record);
  getKyberPreKey = (id) => this.inner.get(id);
  markKyberPreKeyUsed = async () => {};
}

class SenderKeys extends signal.SenderKeyStore {
  records = new Map();
  async saveSenderKey(sender, distribution, record) {
    this.records.set(`${sender}/${distribution}`, record.serialize());
  }
  async getSenderKey(sender, distribution) {
    const record = this.records.get(`${sender}/${distribution}`);
    return record ? signal.SenderKeyRecord.deserialize(record) : null;
  }
}

class Peer {
  constructor(registration) {
    this.key = signal.PrivateKey.generate();
    this.registration = registration;
    this.address = signal.ProtocolAddress.new("npm", 1);
    this.other = signal.ProtocolAddress.new("waxwing", 1);
    this.sessions = new Sessions();
    this.identities = new Identities(this.key, registration);
    this.prekeys = new Prekeys();
    this.signedPrekeys = new SignedPrekeys();
    this.kemPrekeys = new KemPrekeys();
    this.senderKeys = new SenderKeys();
  }

  // A bundle of fresh prekeys, their private halves stored.
  async bundle(now, ids) {
    const one_time = signal.PrivateKey.generate();
    const signed = signal.PrivateKey.generate();
    const kem = signal.KEMKeyPair.generate();
    const signedSignature = this.key.sign(signed.getPublicKey().serialize());
    const kemSignature = this.key.sign(kem.getPublicKey().serialize());
    await this.prekeys.savePreKey(ids, signal.PreKeyRecord.new(ids, one_time.getPublicKey(), one_time));
    await this.signedPrekeys.saveSignedPreKey(
      ids,
      signal.SignedPreKeyRecord.new(ids, now, signed.getPublicKey(), signed, signedSignature),
    );
    await this.kemPrekeys.saveKyberPreKey(ids, signal.KyberPreKeyRecord.new(ids, now, kem, kemSignature));
    return {
      id: ids,
      registration: this.registration,
      identity: text(this.key.getPublicKey().serialize()),
      one_time: text(one_time.getPublicKey().serialize()),
      signed: text(signed.getPublicKey().serialize()),
      signed_signature: text(signedSignature),
      kem: text(kem.getPublicKey().serialize()),
      kem_signature: text(kemSignature),
    };
  }

  async open(bundle, now) {
    const its = signal.PreKeyBundle.new(
      bundle.registration,
      1,
      bundle.one_time_id,
      signal.PublicKey.deserialize(bytes(bundle.one_time)),
      bundle.signed_id,
      signal.PublicKey.deserialize(bytes(bundle.signed)),
      bytes(bundle.signed_signature),
      signal.PublicKey.deserialize(bytes(bundle.identity)),
      bundle.kem_id,
      signal.KEMPublicKey.deserialize(bytes(bundle.kem)),
      bytes(bundle.kem_signature),
    );
    await signal.processPreKeyBundle(its, this.other, this.address, this.sessions, this.identities, new Date(now));
    return {};
  }

  async encrypt(plaintext, now) {
    const message = await signal.signalEncrypt(
      bytes(plaintext),
      this.other,
      this.address,
      this.sessions,
      this.identities,
      new Date(now),
    );
    const prekey = message.type() === signal.CiphertextMessageType.PreKey;
    return { kind: prekey ? "prekey" : "ratchet", ciphertext: text(message.serialize()) };
  }

  async decrypt(kind, ciphertext) {
    const from = [this.other, this.address, this.sessions, this.identities];
    const plaintext =
      kind === "prekey"
        ? await signal.signalDecryptPreKey(
            signal.PreKeySignalMessage.deserialize(bytes(ciphertext)),
            ...from,
            this.prekeys,
            this.signedPrekeys,
            this.kemPrekeys,
          )
        : await signal.signalDecrypt(signal.SignalMessage.deserialize(bytes(ciphertext)), ...from);
    return { plaintext: text(plaintext) };
  }

  async distribute(group) {
    const message = await signal.SenderKeyDistributionMessage.create(this.address, group, this.senderKeys);
    return { distribution: text(message.serialize()) };
  }

  async take(distribution) {
    const message = signal.SenderKeyDistributionMessage.deserialize(bytes(distribution));
    await signal.processSenderKeyDistributionMessage(this.other, message, this.senderKeys);
    return {};
  }

  async groupEncrypt(group, plaintext) {
    const message = await signal.groupEncrypt(this.address, group, this.senderKeys, bytes(plaintext));
    return { ciphertext: text(message.serialize()) };
  }

  async groupDecrypt(ciphertext) {
    return { plaintext: text(await signal.groupDecrypt(this.other, this.senderKeys, bytes(ciphertext))) };
  }
}

let peer;
const commands = {
  new: async ({ registration }) => void (peer = new Peer(registration)),
  bundle: ({ now, ids }) => peer.bundle(now, ids),
  open: ({ bundle, now }) => peer.open(bundle, now),
  encrypt: ({ plaintext, now }) => peer.encrypt(plaintext, now),
  decrypt: ({ kind, ciphertext }) => peer.decrypt(kind, ciphertext),
  distribute: ({ group }) => peer.distribute(group),
  take: ({ distribution }) => peer.take(distribution),
  group_encrypt: ({ group, plaintext }) => peer.groupEncrypt(group, plaintext),
  group_decrypt: ({ ciphertext }) => peer.groupDecrypt(ciphertext),
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const { command, ...rest } = JSON.parse(line);
    answer = (await commands[command](rest)) ?? {};
  } catch (error) {
    answer = { error: String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
