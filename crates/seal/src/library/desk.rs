//! The library's stores, each with the one record that the operation at hand may touch.
//!
//! Everything is laid out before the library is called and read off after it returned, so it never reaches
//! the database: a panic inside it can leave nothing half done, and its futures are ready at once.

use async_trait::async_trait;
use libsignal_protocol_syft::{
    Direction, IdentityChange, IdentityKey, IdentityKeyPair, IdentityKeyStore, KyberPreKeyId,
    KyberPreKeyRecord, KyberPreKeyStore, PreKeyId, PreKeyRecord, PreKeyStore, ProtocolAddress, PublicKey,
    SenderKeyRecord, SenderKeyStore, SessionRecord, SessionStore, SignalProtocolError, SignedPreKeyId,
    SignedPreKeyRecord, SignedPreKeyStore,
};
use uuid::Uuid;

type Outcome<T> = Result<T, SignalProtocolError>;

pub(crate) struct Session(pub(crate) Option<SessionRecord>);

pub(crate) struct Identity {
    pub(crate) pair: IdentityKeyPair,
    pub(crate) registration: u32,
}

pub(crate) struct OneTime {
    pub(crate) record: Option<PreKeyRecord>,
}

pub(crate) struct Signed(pub(crate) Option<SignedPreKeyRecord>);

pub(crate) struct Kem {
    pub(crate) record: Option<KyberPreKeyRecord>,
    /// The library says so when it made a new session with the prekeys.
    pub(crate) used: bool,
}

pub(crate) struct SenderKey(pub(crate) Option<SenderKeyRecord>);

#[async_trait(?Send)]
impl SessionStore for Session {
    async fn load_session(&self, _: &ProtocolAddress) -> Outcome<Option<SessionRecord>> {
        Ok(self.0.clone())
    }

    async fn store_session(&mut self, _: &ProtocolAddress, record: &SessionRecord) -> Outcome<()> {
        self.0 = Some(record.clone());
        Ok(())
    }
}

#[async_trait(?Send)]
impl IdentityKeyStore for Identity {
    async fn get_identity_key_pair(&self) -> Outcome<IdentityKeyPair> {
        Ok(self.pair)
    }

    async fn get_local_registration_id(&self) -> Outcome<u32> {
        Ok(self.registration)
    }

    async fn save_identity(&mut self, _: &ProtocolAddress, _: &IdentityKey) -> Outcome<IdentityChange> {
        Ok(IdentityChange::NewOrUnchanged)
    }

    /// Trust is decided outside, by the verified device list.
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> Outcome<bool> {
        Ok(true)
    }

    async fn get_identity(&self, _: &ProtocolAddress) -> Outcome<Option<IdentityKey>> {
        Ok(None)
    }
}

#[async_trait(?Send)]
impl PreKeyStore for OneTime {
    async fn get_pre_key(&self, _: PreKeyId) -> Outcome<PreKeyRecord> {
        self.record.clone().ok_or(SignalProtocolError::InvalidPreKeyId)
    }

    async fn save_pre_key(&mut self, _: PreKeyId, _: &PreKeyRecord) -> Outcome<()> {
        Ok(())
    }

    async fn remove_pre_key(&mut self, _: PreKeyId) -> Outcome<()> {
        Ok(())
    }
}

#[async_trait(?Send)]
impl SignedPreKeyStore for Signed {
    async fn get_signed_pre_key(&self, _: SignedPreKeyId) -> Outcome<SignedPreKeyRecord> {
        self.0.clone().ok_or(SignalProtocolError::InvalidSignedPreKeyId)
    }

    async fn save_signed_pre_key(&mut self, _: SignedPreKeyId, _: &SignedPreKeyRecord) -> Outcome<()> {
        Ok(())
    }
}

#[async_trait(?Send)]
impl KyberPreKeyStore for Kem {
    async fn get_kyber_pre_key(&self, _: KyberPreKeyId) -> Outcome<KyberPreKeyRecord> {
        self.record.clone().ok_or(SignalProtocolError::InvalidKyberPreKeyId)
    }

    async fn save_kyber_pre_key(&mut self, _: KyberPreKeyId, _: &KyberPreKeyRecord) -> Outcome<()> {
        Ok(())
    }

    async fn mark_kyber_pre_key_used(
        &mut self,
        _: KyberPreKeyId,
        _: SignedPreKeyId,
        _: &PublicKey,
    ) -> Outcome<()> {
        self.used = true;
        Ok(())
    }
}

#[async_trait(?Send)]
impl SenderKeyStore for SenderKey {
    async fn store_sender_key(
        &mut self,
        _: &ProtocolAddress,
        _: Uuid,
        record: &SenderKeyRecord,
    ) -> Outcome<()> {
        self.0 = Some(record.clone());
        Ok(())
    }

    async fn load_sender_key(&mut self, _: &ProtocolAddress, _: Uuid) -> Outcome<Option<SenderKeyRecord>> {
        Ok(self.0.clone())
    }
}
