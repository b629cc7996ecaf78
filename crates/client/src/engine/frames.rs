//! The engine's table of contents: what each frame of the server leads to.

use crate::{
    Closed,
    groups::Asking,
    live::{Asked, Phase},
    store::{Stored, device_lists},
    turn::Turn,
};
use types::AccountId;
use wire::{Push, Refusal, Response, ServerFrame};

impl Turn<'_> {
    pub(super) fn received(&mut self, bytes: bytes::Bytes) -> Stored<()> {
        if self.live.phase == Phase::Offline {
            return Ok(());
        }
        match ServerFrame::decode(bytes) {
            Ok(ServerFrame::Push(push)) => self.pushed(push),
            Ok(ServerFrame::Answer { id, result }) => match self.live.asked.remove(&id) {
                Some(asked) => self.answered(asked, result),
                None => {
                    self.close(Closed::Protocol);
                    Ok(())
                }
            },
            Err(_) => {
                self.close(Closed::Protocol);
                Ok(())
            }
        }
    }

    fn pushed(&mut self, push: Push) -> Stored<()> {
        match push {
            Push::Hello(hello) => return self.greeted(&hello),
            Push::Closing(refusal) => return self.closing(&refusal),
            Push::Reconnect { after } => self.close(Closed::Reconnect { after }),
            Push::Ephemeral(_) | Push::Unknown => {}
            _ if !self.live.is_open() => self.close(Closed::Protocol),
            Push::Deliver(rows) => return self.delivered(&rows),
            Push::Drained => self.live.drained = true,
            Push::KeysLow(left) => self.keys_low(left),
            Push::DeviceListChanged { account, version } => return self.list_changed(account, version),
        }
        Ok(())
    }

    fn list_changed(&mut self, account: AccountId, version: u64) -> Stored<()> {
        let known = self.list(account)?;
        // The primary signs its account's lists, so no other is newer.
        let is_ours_to_sign = account == self.me.account() && self.me.account_secret.is_some();
        if known.is_some_and(|list| list.version() < version) && !is_ours_to_sign {
            device_lists::mark_stale(self.db, account)?;
            self.believe(account, version);
            self.want_list(account);
        }
        Ok(())
    }

    fn answered(&mut self, asked: Asked, result: Result<Response, Refusal>) -> Stored<()> {
        match (asked, result) {
            (Asked::Authenticate, Ok(Response::Authenticated(answer))) => self.authenticated(answer),
            (Asked::Authenticate, Err(refusal)) => self.closing(&refusal),
            (Asked::Send { row, lane }, Ok(Response::Accepted { stamp, .. })) => {
                self.accepted(row, lane, stamp)
            }
            (Asked::Send { row, lane }, Err(refusal)) => self.send_refused(row, lane, &refusal),
            // A row that was not deleted comes again and is dropped then.
            (Asked::Ack, Ok(Response::Done) | Err(_)) => Ok(()),
            (Asked::Keys(accounts), Ok(Response::Keys(keys))) => self.keys_came(&accounts, &keys),
            (Asked::Keys(accounts), Err(refusal)) => self.keys_refused(&accounts, &refusal),
            (Asked::Lists(accounts), Ok(Response::DeviceLists(lists))) => self.lists_came(&accounts, &lists),
            (Asked::Lists(accounts), Err(refusal)) => {
                self.lists_refused(accounts, &refusal);
                Ok(())
            }
            (Asked::PutList, Ok(Response::Done) | Err(_)) => {
                self.list_put();
                Ok(())
            }
            (Asked::UploadKeys { signed, last_resort }, Ok(Response::Done)) => {
                self.keys_uploaded(signed, last_resort)
            }
            (Asked::UploadKeys { .. }, Err(_)) => {
                self.upload_refused();
                Ok(())
            }
            (Asked::KeyCount, Ok(Response::KeyCounts(left))) => self.keys_counted(left),
            (Asked::KeyCount, Err(_)) => Ok(()),
            (Asked::LookUp(phones), Ok(Response::LookupResult(found))) => self.looked_up(phones, &found),
            (Asked::LookUp(phones), Err(refusal)) => {
                self.look_up_refused(phones, &refusal);
                Ok(())
            }
            (Asked::CheckClaim { account, phone }, Ok(Response::LookupResult(found))) => {
                self.claim_checked(account, &phone, found.first().copied().flatten())
            }
            // Asked again with the next connection.
            (Asked::CheckClaim { .. }, Err(_)) => Ok(()),
            (Asked::Successor { account, phone }, Ok(Response::LookupResult(found))) => {
                self.successor_found(account, &phone, found.first().copied().flatten())
            }
            (Asked::Successor { account, .. }, Err(refusal)) => {
                self.successor_refused(account, &refusal);
                Ok(())
            }
            (Asked::Linking(asked), result) => self.linking_answered(asked, result),
            (Asked::Group(Asking::Chain(group)), Ok(Response::GroupState { operations, more })) => {
                self.chain_came(group, &operations, more)
            }
            (Asked::Group(Asking::Chain(group)), Err(refusal)) => self.chain_refused(group, &refusal),
            (Asked::Group(Asking::Change(change)), Ok(Response::Accepted { stamp, .. })) => {
                self.change_accepted(change, stamp)
            }
            (Asked::Group(Asking::Change(change)), Err(refusal)) => self.change_refused(change, &refusal),
            (_, Ok(_)) => {
                self.close(Closed::Protocol);
                Ok(())
            }
        }
    }
}
