//! What leaves the service towards people: one-time codes and wake-ups.

use types::{MailboxId, PhoneNumber, Redact};

/// Sends one-time codes as text messages.
///
/// Contract: at most one text a call; a call that fails may have sent it. The code is never logged.
#[async_trait::async_trait]
pub trait Texter: Send + Sync + 'static {
    /// Sends `code` to `to`.
    async fn send_code(&self, to: &PhoneNumber, code: &Redact<String>) -> Result<(), TextError>;

    /// The newest code of this number opens nothing any more: it was used, or its tries are used up. A
    /// sender that keeps codes lets it go.
    fn forget(&self, _number: &PhoneNumber) {}
}

/// A text could not be handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text sender did not take the message: {0}")]
pub struct TextError(pub String);

/// Wakes devices that are not connected.
///
/// Contract: content-free, best effort, never retried by the caller: the mailbox holds what matters.
#[async_trait::async_trait]
pub trait Pusher: Send + Sync + 'static {
    /// Asks the device to connect.
    async fn wake(&self, device: MailboxId);
}
