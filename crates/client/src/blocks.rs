//! People whom this account does not want to hear: what they write one-to-one is neither shown nor receipted, then or
//! later, and they are not told. In groups they are members like all others.
//!
//! The server knows nothing of it: what they send is accepted, delivered, and passed over here.

use crate::{
    store::{Stored, contacts, inbox},
    turn::Turn,
};
use seal::{Body, Content};
use types::{AccountId, ChatId, Stamp};

impl Turn<'_> {
    /// Blocks an account or ends that, on all our devices. False if it is so already.
    pub(crate) fn set_blocked(&mut self, account: AccountId, blocked: bool) -> Stored<bool> {
        if account == self.me.account() || contacts::is_blocked(self.db, account)? == blocked {
            return Ok(false);
        }
        let (_, before) = contacts::block(self.db, account)?;
        // A clock that was set back must not make this decision the older one.
        let decided_at = self.server_now().max(before + types::Millis(1));
        contacts::decide_block(self.db, account, blocked, decided_at)?;
        self.tell_contact(account, false)?;
        Ok(true)
    }

    /// Whether a content is one that people see, of somebody who is blocked. It has been seen then, and is not missing.
    pub(crate) fn is_passed_over(&mut self, chat: ChatId, content: &Content, stamp: Stamp) -> Stored<bool> {
        let from = content.sender;
        let is_shown = matches!(content.body, Body::Text(_) | Body::Unsupported(_));
        if !is_shown || !contacts::is_blocked(self.db, from.account)? {
            return Ok(false);
        }
        inbox::see(self.db, from.account, content.message_id, self.server_now())?;
        self.count_unshown(chat, from, content.counter, stamp)?;
        Ok(true)
    }
}
