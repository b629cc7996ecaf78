//! The six digits: whoever stands between the two sides of a link, with the code of one and a code of their own in the
//! hands of the other, cannot choose what either side shows.

use crate::link_scene::{Keys, Scene, message, nonce_of, number, scene};
use crate::protobuf::{Field, encode, get};
use crate::support::rng;
use seal::link::{LinkError, NewDevice, Primary};

/// Two links with the same person in the middle: one with the device that wants to be linked, one with the primary.
struct Middle {
    victim: Scene,
    /// What the primary takes for the victim: a device of the person in the middle.
    own: Scene,
    /// What the primary shows; the person in the middle knows it as soon as the primary has invited.
    shown: String,
}

impl Middle {
    fn stand(seed: u64) -> Self {
        let (victim, own) = (scene(2 * seed), scene(2 * seed + 1));
        let primary = own.invite();
        let answer = own.accept(primary.message()).unwrap();
        let shown = primary.open_answer(answer.answer()).unwrap().digits.to_string();
        Self { victim, own, shown }
    }

    /// Tries invitations until one leads to digits with this many last ones like the primary's, if the victim's nonce is
    /// this one; gives what the victim shows for it.
    fn grind(&self, nonce: &[u8], last: usize) -> String {
        let (code, offer) = (self.victim.new_device.code(), self.victim.new_device.offer());
        let primary = Primary::invite(&code, offer.as_bytes(), self.own.invitation(), &mut rng(9)).unwrap();
        let keys = Keys(get(&primary.to_bytes(), 6).unwrap().try_into().unwrap());
        // Everything that a reader skips makes another invitation, and is cheaper than another key.
        let invitations =
            (0..).map(|count| [primary.message(), &encode(&[Field::Number(99, count)])].concat());
        let same = |digits: &str| digits[6 - last..] == self.shown[6 - last..];
        let found = invitations.into_iter().find(|one| same(&keys.digits(one, nonce))).unwrap();
        self.victim.accept(&found).unwrap().digits().to_string()
    }
}

/// Hundreds of links, judged by two digits, of which one in a hundred pairs is the same.
#[test]
fn nobody_chooses_the_digits() {
    let (links, last) = (300, 2);
    let count = |nonce: fn(&NewDevice) -> Vec<u8>| {
        let agree = |seed: &u64| {
            let middle = Middle::stand(*seed);
            let shown = middle.grind(&nonce(&middle.victim.new_device), last);
            shown[6 - last..] == middle.shown[6 - last..]
        };
        (0..links).filter(agree).count() as u64
    };
    assert_eq!(count(nonce_of), links, "the control: who knows the nonce has every link");
    // With what there is to know: nothing, what the offer says of the nonce, the nonce of an older link.
    for guess in [|_: &NewDevice| vec![0; 32], commitment_of, |_: &NewDevice| nonce_of(&scene(1).new_device)]
    {
        let agree = count(guess);
        assert!((1..12).contains(&agree), "{agree} of {links}, and chance gives three");
    }
}

/// All six, in the one link that somebody has: a few seconds of tries if the nonce is known.
#[test]
fn who_knows_the_nonce_has_all_six() {
    let middle = Middle::stand(1);
    assert_eq!(middle.grind(&nonce_of(&middle.victim.new_device), 6), middle.shown, "the control");
    assert_ne!(middle.grind(&commitment_of(&middle.victim.new_device), 6), middle.shown);
}

fn commitment_of(new_device: &NewDevice) -> Vec<u8> {
    new_device.offer().nonce_commitment().to_vec()
}

/// The other way round: in the new device's place, one has to have chosen before the primary's key is drawn.
#[test]
fn a_nonce_that_was_not_offered_is_refused() {
    let scene = scene(1);
    let primary = scene.invite();
    let keys = Keys(get(&primary.to_bytes(), 6).unwrap().try_into().unwrap());
    let answer = |nonce: &[u8]| {
        let signature = scene.listed(number(2)).signature().as_bytes().to_vec();
        let body =
            [Field::Bytes(1, signature), Field::Bytes(2, "Laptop".into()), Field::Bytes(3, nonce.to_vec())];
        message(keys.seal(1, scene.new_device.link(), &encode(&body)))
    };
    let nonce = nonce_of(&scene.new_device);
    assert!(primary.open_answer(&answer(&nonce)).is_ok(), "the control");
    let mut other = nonce.clone();
    other[31] ^= 1;
    assert_eq!(primary.open_answer(&answer(&other)), Err(LinkError::OtherNonce));
    assert_eq!(primary.open_answer(&answer(&commitment_of(&scene.new_device))), Err(LinkError::OtherNonce));
    for wrong in [&nonce[1..], &[], &[0; 33]] {
        assert_eq!(primary.open_answer(&answer(wrong)), Err(LinkError::Malformed));
    }
    // Nor does a device answer with one that it did not offer.
    let kept = scene.new_device.to_bytes();
    let at = kept.windows(32).position(|window| window == nonce).unwrap();
    let mut damaged = kept.to_vec();
    damaged[at] ^= 1;
    assert!(NewDevice::from_slice(&damaged).is_err());
}

/// Every byte of what comes before the nonce is told makes other digits, and nothing of what comes with it or after it
/// does: neither side has another try.
#[test]
fn digits_are_of_offer_invitation_and_nonce_and_of_nothing_else() {
    let scene = scene(1);
    let primary = scene.invite();
    let digits = scene.accept(primary.message()).unwrap().digits();
    let longer = [primary.message(), &encode(&[Field::Number(99, 1)])].concat();
    assert_ne!(scene.accept(&longer).unwrap().digits(), digits, "not even what a reader skips");
    let other_key = Primary::invite(
        &scene.new_device.code(),
        scene.new_device.offer().as_bytes(),
        scene.invitation(),
        &mut rng(55),
    );
    assert_ne!(scene.accept(other_key.unwrap().message()).unwrap().digits(), digits);
    let again = NewDevice::begin(&scene.device, &mut rng(56));
    let invited = Primary::invite(&again.code(), again.offer().as_bytes(), scene.invitation(), &mut rng(100));
    let invited = again.accept(invited.unwrap().message(), &scene.device, &scene.name, &mut rng(101));
    assert_ne!(invited.unwrap().digits(), digits, "another link of the same device");
    for (name, seed) in [("Laptop", 1), ("Laptop", 2), ("Desk", 3)] {
        let name = name.parse().unwrap();
        let invited =
            scene.new_device.accept(primary.message(), &scene.device, &name, &mut rng(seed)).unwrap();
        assert_eq!(invited.digits(), digits);
        assert_eq!(primary.open_answer(invited.answer()).unwrap().digits, digits);
    }
}
