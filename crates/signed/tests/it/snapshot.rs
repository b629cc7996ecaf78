//! A group's state survives a disk, and whatever else a disk holds is refused.

use crate::fixtures::{Person, person};
use proptest::prelude::*;
use signed::{
    GroupChange, GroupState, SignedOperation,
    group::{OperationDraft, OperationId, Permissions},
    keys::LinkSecret,
};
use types::Timestamp;

fn sign(actor: &Person, state: Option<&GroupState>, change: GroupChange) -> SignedOperation {
    let draft = OperationDraft {
        follows: state.map(GroupState::follows),
        id: OperationId([state.map_or(0, |state| state.epoch() as u8 + 1); 16]),
        actor_key: actor.account.public(),
        certificate: actor.certificate(),
        at: Timestamp::from_millis(1_795_000_000_000),
        change,
    };
    draft.sign(&actor.device).unwrap()
}

/// A state in which every field has a value of its own.
fn state() -> GroupState {
    let alice = person(1);
    let create = GroupChange::Create {
        members: [2, 3].map(|seed| person(seed).id()).into(),
        sealed_info: b"sealed".to_vec(),
        permissions: Permissions { members_add: true, members_set_info: false, admins_send: true },
    };
    let mut state = GroupState::found(&sign(&alice, None, create)).unwrap();
    let link = LinkSecret::from_bytes(&[7; 32]);
    for change in [
        GroupChange::Promote([person(2).id()].into()),
        GroupChange::SetInviteLink(Some(link.public())),
        GroupChange::SetTimer(86_400),
    ] {
        state = state.apply(&sign(&alice, Some(&state), change)).unwrap();
    }
    state
}

#[test]
fn a_snapshot_gives_the_same_state() {
    let state = state();
    let restored = GroupState::from_snapshot(&state.to_snapshot()).unwrap();
    assert_eq!(restored, state);
    // It goes on as the original would, and knows what it has seen.
    let next = sign(&person(1), Some(&state), GroupChange::SetInviteLink(None));
    assert_eq!(restored.apply(&next), state.apply(&next));
    let link = state.link().unwrap();
    assert_eq!(restored.link(), Some(link));
}

#[test]
fn a_snapshot_that_was_cut_or_grew_is_refused() {
    let bytes = state().to_snapshot();
    for length in 0..bytes.len() {
        assert!(GroupState::from_snapshot(&bytes[..length]).is_err(), "cut at {length}");
    }
    assert!(GroupState::from_snapshot(&[&bytes[..], &[0]].concat()).is_err());
}

proptest! {
    #[test]
    fn any_bytes_may_be_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = GroupState::from_snapshot(&bytes);
    }

    #[test]
    fn a_changed_snapshot_is_another_state_or_none(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut bytes = state().to_snapshot();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        if let Ok(read) = GroupState::from_snapshot(&bytes) {
            prop_assert_ne!(read, state());
        }
    }
}
